import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { bytesOfRun, type PieceLayout, type PieceRun, pieceAt, pieceLength } from '@layerswarm/core/piece-layout.ts'
import { PieceSet } from '@layerswarm/core/piece-set.ts'
import type { Abortable, Availability, ContentRef, FetchedPiece, FetchOptions, PieceSource, RegistryClient } from '../ports.ts'

/** Piece buffers kept for the next fetch (at most 4 MiB each): a fetch every few pieces would else allocate without end. */
const MAX_SPARE_BUFFERS = 8
const spare: Uint8Array[] = []

/** A blob at its registry, cut into pieces. */
export function registrySource(client: Pick<RegistryClient, 'content'>, ref: ContentRef, layout: PieceLayout): PieceSource {
  return {
    id: 'registry',
    kind: 'registry',
    available: (options) => everything(layout, options),
    fetch: (run, options) => fetchRun(client, ref, layout, run, options)
  }
}

async function* everything(layout: PieceLayout, { signal }: Abortable = {}): AsyncGenerator<Availability> {
  signal?.throwIfAborted()
  yield { pieces: PieceSet.full(layout.pieces), load: 0 }
}

/** One request for the run. A registry that ignores the range sends all, which shows in the numbers of the pieces. */
async function* fetchRun(
  client: Pick<RegistryClient, 'content'>,
  ref: ContentRef,
  layout: PieceLayout,
  run: PieceRun,
  { signal, onProgress }: FetchOptions = {}
): AsyncGenerator<FetchedPiece> {
  signal?.throwIfAborted()
  if (run.count === 0) return
  const ended = new AbortController()
  const either = signal === undefined ? ended.signal : AbortSignal.any([signal, ended.signal])
  const buffer = takeBuffer(Math.min(layout.pieceSize, layout.size))
  try {
    const { size, range, body } = await client.content(ref, bytesOfRun(layout, run), { signal: either })
    if (size !== layout.size) throw new LayerswarmError('SIZE_MISMATCH', { detail: `${ref.digest}: ${size} bytes, not ${layout.size}` })
    yield* pieces(body, layout, { first: pieceAt(layout, range.start), end: pieceAt(layout, range.end - 1) + 1 }, buffer, onProgress)
  } finally {
    // Ends a request whose body was not read to its end.
    ended.abort()
    if (spare.length < MAX_SPARE_BUFFERS) spare.push(buffer)
  }
}

async function* pieces(
  body: AsyncIterable<Uint8Array>,
  layout: PieceLayout,
  { first, end }: { readonly first: number; readonly end: number },
  buffer: Uint8Array,
  onProgress: FetchOptions['onProgress']
): AsyncGenerator<FetchedPiece> {
  let piece = first
  let filled = 0
  for await (const chunk of body) {
    for (let at = 0; at < chunk.byteLength; ) {
      if (piece === end) throw new LayerswarmError('SIZE_MISMATCH', { detail: 'the body goes on after the last piece' })
      const length = pieceLength(layout, piece)
      const part = chunk.subarray(at, at + length - filled)
      buffer.set(part, filled)
      at += part.byteLength
      filled += part.byteLength
      onProgress?.(part.byteLength)
      if (filled < length) continue
      yield { piece, bytes: buffer.subarray(0, length) }
      piece++
      filled = 0
    }
  }
  if (piece < end) throw new LayerswarmError('REGISTRY_FAILED', { detail: `the body ends before piece ${piece} does` })
}

function takeBuffer(size: number): Uint8Array {
  const at = spare.findIndex(({ byteLength }) => byteLength >= size)
  const [found] = at === -1 ? [] : spare.splice(at, 1)
  return found ?? Buffer.allocUnsafeSlow(size)
}
