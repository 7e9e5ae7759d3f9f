import { blobStoreConformance } from '@layerswarm/testkit/conformance/blob-store.ts'
import { openStore, TempDir } from './temp-store.ts'

async function open(maxOpenFiles: number) {
  const dir = await TempDir.make()
  const store = await openStore(dir, { maxOpenFiles })
  const close = store[Symbol.asyncDispose].bind(store)
  store[Symbol.asyncDispose] = async () => {
    await close()
    await dir[Symbol.asyncDispose]()
  }
  return store
}

blobStoreConformance('files', () => open(256))
// With a single descriptor every file is closed and opened again and again.
blobStoreConformance('files, one of them open at a time', () => open(1))
