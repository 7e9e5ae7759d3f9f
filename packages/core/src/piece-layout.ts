/** How a blob is cut: the piece is the unit of hash, have and transfer; the run is the unit of lease. */
export interface PieceLayout {
  /** Bytes of the blob. */
  readonly size: number
  /** Bytes of every piece but the last. */
  readonly pieceSize: number
  /** Number of pieces; 0 for an empty blob. */
  readonly pieces: number
}

/** Consecutive pieces `first … first + count - 1`. */
export interface PieceRun {
  readonly first: number
  readonly count: number
}

const MIN_PIECE = 256 * 1024
const MAX_PIECE = 4 * 1024 * 1024
const PIECES_AIMED_AT = 4096
/** Pieces in a run. Eight make a registry request long against its first-byte time. */
export const RUN_PIECES = 8
/** Largest blob that can be described (1 PiB): keeps piece numbers and bitfields bounded. */
export const MAX_BLOB_SIZE = 2 ** 50

/** The layout every host derives from a blob's size: the power of two nearest size/4096 in 256 KiB … 4 MiB. */
export function layoutOf(size: number): PieceLayout {
  const aim = Math.max(1, size / PIECES_AIMED_AT)
  const nearest = 2 ** Math.round(Math.log2(aim))
  const pieceSize = Math.min(MAX_PIECE, Math.max(MIN_PIECE, nearest))
  return { size, pieceSize, pieces: Math.ceil(size / pieceSize) }
}

export function pieceStart(layout: PieceLayout, piece: number): number {
  return piece * layout.pieceSize
}

export function pieceLength(layout: PieceLayout, piece: number): number {
  return Math.min(layout.pieceSize, layout.size - piece * layout.pieceSize)
}

export function pieceAt(layout: PieceLayout, offset: number): number {
  return Math.floor(offset / layout.pieceSize)
}

export function runCount(layout: PieceLayout): number {
  return Math.ceil(layout.pieces / RUN_PIECES)
}

export function runOf(piece: number): number {
  return Math.floor(piece / RUN_PIECES)
}

export function piecesOfRun(layout: PieceLayout, run: number): PieceRun {
  const first = run * RUN_PIECES
  return { first, count: Math.min(RUN_PIECES, layout.pieces - first) }
}

/** Bytes `start … end - 1` that the pieces of `run` cover. */
export function bytesOfRun(layout: PieceLayout, run: PieceRun): { start: number; end: number } {
  const start = run.first * layout.pieceSize
  return { start, end: Math.min(layout.size, (run.first + run.count) * layout.pieceSize) }
}
