/** Content that other programs of this host hold. */

import type { Digest } from '@layerswarm/core/digest.ts'
import type { Descriptor, Manifest } from '@layerswarm/core/image/manifest.ts'
import type { ImageReference } from '@layerswarm/core/image/reference.ts'
import type { Abortable } from './common.ts'

/** A blob that another program keeps on this host as a file, which may change or go at any time. */
export interface ForeignFile {
  readonly digest: Digest
  readonly size: number
  readonly path: string
  /** Its owner keeps it for an image; otherwise it may go as soon as a pull is over. */
  readonly kept: boolean
}

/** An image as another program on this host knows it. */
export interface ForeignImage {
  /** `registry/repository`. */
  readonly scope: string
  /** Absent for an image that is named by its digest. */
  readonly tag: string | undefined
  readonly root: Descriptor
}

export interface ForeignState {
  readonly files: ReadonlyMap<Digest, ForeignFile>
  readonly images: readonly ForeignImage[]
  /** Files that may have been written to since the last state. */
  readonly touched?: ReadonlySet<Digest>
}

/** Another program's content: which files there are, by its word. Whether they are what they should be is not its matter. */
export interface ForeignContent {
  /** What there is, and again after each change: always all of it. Waits while the other program cannot be asked. */
  states(options?: Abortable): AsyncIterable<ForeignState>
}

/** Another program's content as a source of images: what it says that it has, proven when it is wanted. */
export interface ForeignSource {
  /**
   * Resolves once what the other program knows now is known here.
   * @throws {LayerswarmError} CONTAINERD_FAILED; the signal's reason
   */
  look(options?: Abortable): Promise<void>
  /** What it knows by a name. */
  root(image: ImageReference): Descriptor | undefined
  /**
   * Whether a blob of its is what its digest says; undefined where it has no such blob.
   * @param options.onProgress told the bytes hashed so far, where they have to be
   * @throws the signal's reason
   */
  prove(digest: Digest, options?: Abortable & { readonly onProgress?: (bytes: number) => void }): Promise<boolean | undefined>
}

/** One blob or manifest on its way into another program's store. */
export interface RuntimeContent {
  readonly digest: Digest
  readonly size: number
  /** What it says, if it is a manifest. */
  readonly manifest: Manifest | undefined
  read(options?: Abortable): AsyncIterable<Uint8Array>
}

export interface RuntimeImage {
  /** containerd's own: images of one are unknown in another. */
  readonly namespace: string
  /** The full reference that it is to be known by. */
  readonly name: string
  readonly root: Descriptor
  /** All of it, what is named before what names it. */
  readonly content: readonly RuntimeContent[]
}

/** A container runtime's own store of images. */
export interface RuntimeImages {
  /**
   * Whether it would take an image now, to be known before anything is fetched for it.
   * @throws {LayerswarmError} CONTAINERD_FAILED where it would not; the signal's reason
   */
  ready(options?: Abortable): Promise<void>
  /**
   * Makes an image known there, with its content as far as it is lacking.
   * @returns what it lacked
   * @throws {LayerswarmError} CONTAINERD_FAILED, what reading throws, the signal's reason
   */
  put(image: RuntimeImage, options?: Abortable): Promise<{ readonly blobs: number; readonly bytes: number }>
}
