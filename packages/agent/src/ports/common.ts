/** What all seams speak of. */
import type { Digest } from '@layerswarm/core/digest.ts'

/** Everything that waits can be told to stop: it then throws the signal's reason. */
export interface Abortable {
  readonly signal?: AbortSignal
}

/** How bytes are read. */
export interface ReadOptions extends Abortable {
  /** Memory to read into, so that none is allocated for each chunk: a chunk is then valid until the next is asked for. */
  readonly into?: Uint8Array
}

/** Content as a client names it: bytes by digest, reached through a repository of a registry. */
export interface ContentRef {
  /** The registry as asked for, for example `docker.io` or `registry.example.com:5000`. */
  readonly registry: string
  readonly repository: string
  readonly digest: Digest
  readonly kind: 'blob' | 'manifest'
}

/** A tag of a repository: the only mutable name there is. */
export interface TagRef {
  readonly registry: string
  readonly repository: string
  readonly tag: string
}

/** Bytes `start … end - 1`. */
export interface ByteRange {
  readonly start: number
  readonly end: number
}
