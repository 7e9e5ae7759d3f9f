import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { test } from 'node:test'
import { digestOf } from '@layerswarm/core/digest.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { createLogger } from '@layerswarm/core/log.ts'
import { fixtureBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { addBlob } from '@layerswarm/testkit/blob-steps.ts'
import { Pushed } from '../../src/images/pushed.ts'
import { openStore, TempDir } from '../store/temp-store.ts'

const REPOSITORY = { registry: 'registry.example.com', repository: 'team/app' }
const SCOPE = 'registry.example.com/team/app'

async function opened(stack: AsyncDisposableStack, failing = false) {
  const dir = stack.use(await TempDir.make())
  const store = stack.use(await openStore(dir))
  const lines: string[] = []
  const destination = new Writable({
    write: (line, _encoding, done) => {
      lines.push(String(line))
      done()
    }
  })
  const index = store.content
  const link = failing ? () => Promise.reject(new LayerswarmError('STORE_FAILED')) : index.link.bind(index)
  const images = { moved: () => undefined }
  const log = createLogger({ level: 'warn', destination })
  return { store, lines, pushed: new Pushed({ store, index: { link, setTag: index.setTag.bind(index) }, images, log }) }
}

test('a pushed blob is kept, and belongs to its repository; one that is here is not kept twice', async () => {
  await using stack = new AsyncDisposableStack()
  const { store, pushed } = await opened(stack)
  const [fresh, held] = [fixtureBlob(1000), fixtureBlob(2000)]
  await addBlob(store, held)
  for (const { bytes, digest } of [fresh, held]) {
    await using incoming = await store.receive()
    await incoming.append(bytes)
    assert.ok(await incoming.proves(digest))
    const keeping = incoming.keep.bind(incoming)
    let kept = 0
    incoming.keep = async (as) => {
      kept++
      await keeping(as)
    }
    await pushed.blob({ ...REPOSITORY, digest, kind: 'blob' }, incoming)
    assert.equal(kept, digest === fresh.digest ? 1 : 0)
    assert.equal((await store.content.linked(SCOPE, digest))?.size, bytes.byteLength)
    assert.equal((await store.stat(digest))?.state, 'complete')
  }
})

test('what cannot be recorded fails no push: the registry has it', async () => {
  await using stack = new AsyncDisposableStack()
  const { store, lines, pushed } = await opened(stack, true)
  await using incoming = await store.receive()
  assert.ok(await incoming.proves(digestOf(new Uint8Array(0))))
  await pushed.blob({ ...REPOSITORY, digest: digestOf(new Uint8Array(0)), kind: 'blob' }, incoming)
  assert.match(lines.join(), /could not be kept here/)
})
