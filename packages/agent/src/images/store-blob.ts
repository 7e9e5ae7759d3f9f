import type { Digest } from '@layerswarm/core/digest.ts'
import { isLayerswarmError, LayerswarmError } from '@layerswarm/core/errors.ts'
import { layoutOf, pieceLength } from '@layerswarm/core/piece-layout.ts'
import type { Abortable, BlobStore, PartialBlob } from '../ports.ts'

/** Others who write the same blob that are waited for, one after the other: pushes of images that share a layer. */
const MAX_WAITS = 8

type Store = Pick<BlobStore, 'stat' | 'begin' | 'open'>

/**
 * Takes a whole blob into the store, where it is not yet, in memory of one piece. Its digest is proven before it counts.
 * Where somebody else writes it already, that is waited for.
 * @throws {LayerswarmError} SIZE_MISMATCH, DIGEST_MISMATCH, STORE_FULL, STORE_FAILED; what `content` throws
 */
export async function storeBlob(
  store: Store,
  { digest, size }: { readonly digest: Digest; readonly size: number },
  content: AsyncIterable<Uint8Array>,
  { signal }: Abortable = {}
): Promise<void> {
  await using partial = await beginAlone(store, digest, size, signal)
  if (partial === undefined) return
  await writePieces(partial, content, signal)
  try {
    await partial.commit()
  } catch (error) {
    await partial.discard()
    throw error
  }
}

/** @returns undefined when the blob is here */
async function beginAlone(store: Store, digest: Digest, size: number, signal: AbortSignal | undefined): Promise<PartialBlob | undefined> {
  for (let waits = 0; ; waits++) {
    if ((await store.stat(digest))?.state === 'complete') return undefined
    try {
      return await store.begin(digest, layoutOf(size))
    } catch (error) {
      if (isLayerswarmError(error) || waits === MAX_WAITS) throw error
    }
    await written(store, digest, signal)
  }
}

/** Resolves once nobody writes the blob, whether or not it is complete then. @throws the signal's reason */
async function written(store: Store, digest: Digest, signal: AbortSignal | undefined): Promise<void> {
  await using arriving = await store.open(digest)
  try {
    for await (const _pieces of arriving?.landed(signal === undefined ? {} : { signal }) ?? []);
  } catch {
    signal?.throwIfAborted()
  }
}

async function writePieces(partial: PartialBlob, content: AsyncIterable<Uint8Array>, signal: AbortSignal | undefined): Promise<void> {
  const { layout, digest } = partial
  let piece = 0
  let buffer = Buffer.alloc(layout.pieces === 0 ? 0 : pieceLength(layout, 0))
  let filled = 0
  for await (const chunk of content) {
    signal?.throwIfAborted()
    for (let at = 0; at < chunk.byteLength; ) {
      if (piece === layout.pieces) throw new LayerswarmError('SIZE_MISMATCH', { detail: `${digest} has more than ${layout.size} bytes` })
      const part = chunk.subarray(at, at + buffer.byteLength - filled)
      buffer.set(part, filled)
      filled += part.byteLength
      at += part.byteLength
      if (filled < buffer.byteLength) continue
      await partial.write(piece, buffer)
      piece++
      filled = 0
      if (piece < layout.pieces) buffer = Buffer.alloc(pieceLength(layout, piece))
    }
  }
  if (piece < layout.pieces) throw new LayerswarmError('SIZE_MISMATCH', { detail: `${digest} has fewer than ${layout.size} bytes` })
}
