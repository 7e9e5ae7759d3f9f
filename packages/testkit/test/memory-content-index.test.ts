import { contentIndexConformance } from '../src/conformance/content-index.ts'
import { MemoryContentIndex } from '../src/memory-content-index.ts'

contentIndexConformance('memory', async () => ({ index: new MemoryContentIndex(), [Symbol.asyncDispose]: async () => undefined }))
