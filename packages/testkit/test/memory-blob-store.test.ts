import { blobStoreConformance } from '../src/conformance/blob-store.ts'
import { MemoryBlobStore } from '../src/memory-blob-store.ts'

blobStoreConformance('memory', async () => new MemoryBlobStore())
