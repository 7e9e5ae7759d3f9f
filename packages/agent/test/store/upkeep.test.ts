import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLogger } from '@layerswarm/core/log.ts'
import { fixtureBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { addBlob } from '@layerswarm/testkit/blob-steps.ts'
import { ManualClock } from '@layerswarm/testkit/manual-clock.ts'
import { Upkeep } from '../../src/store/upkeep.ts'
import { ForeignFolder } from './foreign-folder.ts'
import { openStore, TempDir } from './temp-store.ts'

const log = createLogger({ level: 'silent' })
const DAY_MS = 24 * 3600 * 1000

function descriptorOf({ digest, bytes }: ReturnType<typeof fixtureBlob>) {
  return { mediaType: 'application/octet-stream', digest, size: bytes.byteLength }
}

test('a daemon that runs for months forgets what nobody asks for, unless this host or another program of it has it', async () => {
  await using dir = await TempDir.make()
  await using folder = await ForeignFolder.make()
  const clock = new ManualClock()
  await using store = await openStore(dir, {}, { now: () => clock.now() })
  const [gone, held, foreign] = [1, 2, 3].map((size) => fixtureBlob(size))
  assert.ok(gone && held && foreign)
  await addBlob(store, held)
  await folder.add(foreign)
  await using other = store.foreign({ clock, log })
  const proven = other.changes()[Symbol.asyncIterator]().next()
  other.update({ files: folder.files })
  await proven
  await store.content.link('a/b', [gone, held, foreign].map(descriptorOf))
  const linked = async () =>
    await Promise.all([gone, held, foreign].map(async ({ digest }) => (await store.content.linked('a/b', digest))?.size))
  // Without the signal, so that disposing waits for all of it.
  const whole = { forgetUnused: () => store.forgetUnused() }
  {
    await using _upkeep = new Upkeep({ store: whole, clock, log })
    await clock.advance(30 * DAY_MS)
  }
  assert.deepEqual(await linked(), [1, 2, 3])
  {
    await using _upkeep = new Upkeep({ store: whole, clock, log })
    await clock.advance(DAY_MS)
  }
  assert.deepEqual(await linked(), [undefined, 2, 3])
  assert.equal(clock.sleeping, 0)
})

test('an index that cannot be cleared today is cleared tomorrow', async () => {
  const clock = new ManualClock()
  let times = 0
  const forgetUnused = async (): Promise<void> => {
    if (++times === 1) throw new Error('no disk')
  }
  await using _upkeep = new Upkeep({ store: { forgetUnused }, clock, log })
  await clock.advance(2 * DAY_MS)
  assert.equal(times, 2)
})
