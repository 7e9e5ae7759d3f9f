import type { Digest } from '@layerswarm/core/digest.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { layoutOf, pieceLength } from '@layerswarm/core/piece-layout.ts'
import type { Abortable, BlobStore, PartialBlob } from '../ports.ts'

/**
 * Takes a whole blob into the store, where it is not yet, in memory of one piece. Its digest is proven before it counts.
 * @throws {LayerswarmError} SIZE_MISMATCH, DIGEST_MISMATCH, STORE_FULL, STORE_FAILED; what `content` throws
 */
export async function storeBlob(
  store: Pick<BlobStore, 'stat' | 'begin'>,
  { digest, size }: { readonly digest: Digest; readonly size: number },
  content: AsyncIterable<Uint8Array>,
  { signal }: Abortable = {}
): Promise<void> {
  if ((await store.stat(digest))?.state === 'complete') return
  await using partial = await store.begin(digest, layoutOf(size))
  await writePieces(partial, content, signal)
  try {
    await partial.commit()
  } catch (error) {
    await partial.discard()
    throw error
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
