import { createHash } from 'node:crypto'
import { type Digest, pieceHash } from '@layerswarm/core/digest.ts'
import { layoutOf, type PieceLayout, pieceLength, pieceStart, RUN_PIECES } from '@layerswarm/core/piece-layout.ts'
import { SeededRandom } from './seeded-random.ts'

const PIECE = layoutOf(1).pieceSize
const RUN = PIECE * RUN_PIECES

/** Bytes at which an error by one shows: around a piece, around a run, and several runs with a short end. */
export const INTERESTING_SIZES: readonly number[] = [0, 1, PIECE - 1, PIECE, PIECE + 1, RUN - 1, RUN, RUN + 1, 3 * RUN + 12_345]

/** A blob of random bytes, and all that is true of it. */
export interface FixtureBlob {
  readonly bytes: Uint8Array
  readonly digest: Digest
  readonly layout: PieceLayout
  /** The bytes of one piece, not copied. */
  piece(piece: number): Uint8Array
  /** SHA-256 of one piece. */
  hash(piece: number): Uint8Array
  /** SHA-256 of all pieces in order. */
  readonly map: Uint8Array
}

export function fixtureBlob(size: number, options: { seed?: number | string; algorithm?: 'sha256' | 'sha512' } = {}): FixtureBlob {
  const { seed = 1, algorithm = 'sha256' } = options
  const bytes = new SeededRandom(`${seed}/${size}`).bytes(size)
  return describeBlob(bytes, algorithm)
}

/** The same for bytes of the test's own. */
export function describeBlob(bytes: Uint8Array, algorithm: 'sha256' | 'sha512' = 'sha256'): FixtureBlob {
  const layout = layoutOf(bytes.byteLength)
  const piece = (at: number): Uint8Array => bytes.subarray(pieceStart(layout, at), pieceStart(layout, at) + pieceLength(layout, at))
  return {
    bytes,
    digest: `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}` as Digest,
    layout,
    piece,
    hash: (at) => pieceHash(piece(at)),
    map: Buffer.concat(Array.from({ length: layout.pieces }, (_, at) => pieceHash(piece(at))))
  }
}
