import type { Descriptor } from '@layerswarm/core/image/manifest.ts'
import type { ImageManifest, ImageSource } from '../ports.ts'
import type { Leaf } from './walk.ts'

/** What is to be written: an image of one platform as its manifest alone, else the whole index. */
export interface Exported {
  readonly source: ImageSource
  readonly root: Descriptor
  readonly manifests: readonly ImageManifest[]
  readonly leaves: readonly Leaf[]
  readonly name: string | undefined
  /** Bytes of content, proven as they come: what does not match its digest ends with an error. */
  read(content: Descriptor): AsyncIterable<Uint8Array>
}
