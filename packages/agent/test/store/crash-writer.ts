/** Run as a process of its own: writes pieces of a blob in the given order and says each, until it is killed. */
import { fixtureBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { FsBlobStore } from '../../src/store/fs-blob-store.ts'

const [dataDir = '', size = '', committed = ''] = process.argv.slice(2)
const store = await FsBlobStore.open({ dataDir, maxBytes: 1024 ** 3 })

const whole = fixtureBlob(Number(committed), { seed: 'committed' })
const done = await store.begin(whole.digest, whole.layout)
for (let piece = 0; piece < whole.layout.pieces; piece++) await done.write(piece, whole.piece(piece))
await done.commit()
await done[Symbol.asyncDispose]()

const blob = fixtureBlob(Number(size))
const partial = await store.begin(blob.digest, blob.layout)
for (let piece = 0; piece < blob.layout.pieces - 1; piece++) {
  await partial.write(piece, blob.piece(piece))
  process.stdout.write(`${piece}\n`)
}
process.stdin.resume()
