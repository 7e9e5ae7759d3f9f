/**
 * The record that lies beside a partial blob's data: what has been verified, so that a restarted agent can go on.
 *
 * A file of records, appended only: `type u8 · length u32 · payload · crc32 u32` (big-endian, the sum over all before
 * it). The first is the header.
 *   1 header   format u8 · piece size u32 · blob size u64 · digest in ASCII
 *   2 piece    piece u32 · SHA-256 (32 bytes): the piece was verified and lies in the data file
 *   3 claim    a signed claim, in CBOR
 *   4 discard  pieces u32 …: forgotten again; none listed means all
 * Reading stops at the first record that is cut or does not fit its sum, as a crash leaves it. A record proves nothing
 * of the data, which a crash of the machine may have lost: each piece is read and hashed again before it counts.
 */
import { crc32 } from 'node:zlib'
import { type Claim, decodeClaim, encodeClaim } from '@layerswarm/core/claims.ts'
import { type Digest, isDigest, PIECE_HASH_BYTES } from '@layerswarm/core/digest.ts'
import { MAX_BLOB_SIZE, type PieceLayout } from '@layerswarm/core/piece-layout.ts'

const FORMAT = 1
const HEAD_BYTES = 5
const SUM_BYTES = 4
const HEADER_FIXED_BYTES = 13

const TYPE = { header: 1, piece: 2, claim: 3, discard: 4 } as const

/** What a side file says. */
export interface SideRecord {
  readonly digest: Digest
  readonly layout: PieceLayout
  /** SHA-256 by piece. */
  readonly pieces: ReadonlyMap<number, Uint8Array>
  readonly claims: readonly Claim[]
  /** Bytes of whole records: what follows is torn. */
  readonly end: number
}

function frame(type: number, payload: Uint8Array): Uint8Array {
  const record = Buffer.allocUnsafe(HEAD_BYTES + payload.byteLength + SUM_BYTES)
  record.writeUInt8(type, 0)
  record.writeUInt32BE(payload.byteLength, 1)
  record.set(payload, HEAD_BYTES)
  record.writeUInt32BE(crc32(record.subarray(0, record.byteLength - SUM_BYTES)), record.byteLength - SUM_BYTES)
  return record
}

export function headerRecord(digest: Digest, layout: PieceLayout): Uint8Array {
  const payload = Buffer.allocUnsafe(HEADER_FIXED_BYTES + digest.length)
  payload.writeUInt8(FORMAT, 0)
  payload.writeUInt32BE(layout.pieceSize, 1)
  payload.writeBigUInt64BE(BigInt(layout.size), 5)
  payload.write(digest, HEADER_FIXED_BYTES, 'latin1')
  return frame(TYPE.header, payload)
}

export function pieceRecord(piece: number, hash: Uint8Array): Uint8Array {
  const payload = Buffer.allocUnsafe(4 + PIECE_HASH_BYTES)
  payload.writeUInt32BE(piece, 0)
  payload.set(hash, 4)
  return frame(TYPE.piece, payload)
}

export function claimRecord(claim: Claim): Uint8Array {
  return frame(TYPE.claim, encodeClaim(claim))
}

/** @param pieces those forgotten; undefined for all */
export function discardRecord(pieces?: readonly number[]): Uint8Array {
  const payload = Buffer.allocUnsafe((pieces?.length ?? 0) * 4)
  for (const [at, piece] of (pieces ?? []).entries()) payload.writeUInt32BE(piece, at * 4)
  return frame(TYPE.discard, payload)
}

/** @returns undefined when not even the header is whole, or the file is of a format this version does not know. */
export function parseSideFile(bytes: Uint8Array): SideRecord | undefined {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const pieces = new Map<number, Uint8Array>()
  const claims: Claim[] = []
  let header: Pick<SideRecord, 'digest' | 'layout'> | undefined
  let at = 0
  while (at + HEAD_BYTES + SUM_BYTES <= file.byteLength) {
    const length = file.readUInt32BE(at + 1)
    const sumAt = at + HEAD_BYTES + length
    if (sumAt + SUM_BYTES > file.byteLength) break
    if (crc32(file.subarray(at, sumAt)) !== file.readUInt32BE(sumAt)) break
    const type = file.readUInt8(at)
    const payload = file.subarray(at + HEAD_BYTES, sumAt)
    if (header === undefined) {
      if (type !== TYPE.header) return undefined
      header = parseHeader(payload)
      if (header === undefined) return undefined
    } else if (type === TYPE.piece && length === 4 + PIECE_HASH_BYTES) {
      const piece = payload.readUInt32BE(0)
      if (piece < header.layout.pieces) pieces.set(piece, payload.subarray(4))
    } else if (type === TYPE.discard) {
      if (length === 0) pieces.clear()
      for (let i = 0; i + 4 <= length; i += 4) pieces.delete(payload.readUInt32BE(i))
    } else if (type === TYPE.claim) {
      const claim = parseClaim(payload)
      if (claim?.blob === header.digest) claims.push(claim)
    }
    at = sumAt + SUM_BYTES
  }
  return header === undefined ? undefined : { ...header, pieces, claims, end: at }
}

function parseHeader(payload: Buffer): Pick<SideRecord, 'digest' | 'layout'> | undefined {
  if (payload.byteLength < HEADER_FIXED_BYTES || payload.readUInt8(0) !== FORMAT) return undefined
  const pieceSize = payload.readUInt32BE(1)
  const size = Number(payload.readBigUInt64BE(5))
  const digest = payload.toString('latin1', HEADER_FIXED_BYTES)
  if (!isDigest(digest) || pieceSize === 0 || size > MAX_BLOB_SIZE) return undefined
  return { digest, layout: { size, pieceSize, pieces: Math.ceil(size / pieceSize) } }
}

function parseClaim(payload: Uint8Array): Claim | undefined {
  try {
    return decodeClaim(payload)
  } catch {
    return undefined
  }
}
