/**
 * Leases and claims: how the pieces of a cold blob, of which only the whole digest is known, are vouched for.
 *
 * The tracker signs a lease: this host shall fetch this run of this blob from the registry. The holder hashes each
 * piece that arrives over verified TLS and signs a claim: these are the SHA-256 of these pieces, under this lease.
 * Claims travel with the haves and are passed on unchanged. A receiver checks both signatures and never judges
 * expiry: clocks differ, and a late joiner needs old claims.
 */
import { createHash, createPublicKey, type KeyObject, verify } from 'node:crypto'
import type { PrivateKey } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { z } from 'zod'
import { type Digest, PIECE_HASH_BYTES } from './digest.ts'
import { type PieceRun, RUN_PIECES, runOf } from './piece-layout.ts'
import { bytesField, digestField, hostIdField, pieceField } from './wire/fields.ts'
import { decodeMessage, encodeCanonical } from './wire/frames.ts'

/** One of Ed25519 has 64: whoever keeps signatures apart by their bytes keeps few. */
const MAX_SIGNATURE_BYTES = 128
const signatureField = bytesField.refine((bytes) => bytes.byteLength <= MAX_SIGNATURE_BYTES, 'not a signature')

export const leaseSchema = z.object({
  blob: digestField,
  run: pieceField,
  holder: hostIdField,
  serial: z.int().min(0),
  /** The holder given up for this one, if any: the new holder ignores what that host announced. */
  instead: hostIdField.optional(),
  /** The tracker that granted it. */
  by: hostIdField,
  sig: signatureField
})
/** Permission, signed by the tracker, to fetch one run from the registry and to vouch for its pieces. */
export type Lease = z.infer<typeof leaseSchema>

export const claimSchema = z.object({
  blob: digestField,
  first: pieceField,
  /** SHA-256 of pieces first, first + 1, …: all of one run. */
  hashes: bytesField.refine(
    (b) => b.byteLength > 0 && b.byteLength % PIECE_HASH_BYTES === 0 && b.byteLength <= RUN_PIECES * PIECE_HASH_BYTES,
    'bad hashes'
  ),
  author: hostIdField,
  /** Absent when there was no tracker to grant one. */
  lease: leaseSchema.optional(),
  sig: signatureField
})
/** A host's signed word on the SHA-256 of consecutive pieces of one run. */
export type Claim = z.infer<typeof claimSchema>

function leaseBody(lease: Omit<Lease, 'sig'>): Uint8Array {
  return encodeCanonical(['layerswarm/lease/1', lease.blob, lease.run, lease.holder, lease.serial, lease.instead ?? null, lease.by])
}

function claimBody(claim: Omit<Claim, 'sig'>): Uint8Array {
  return encodeCanonical(['layerswarm/claim/1', claim.blob, claim.first, claim.hashes, claim.author, claim.lease?.sig ?? null])
}

export async function signLease(key: PrivateKey, lease: Omit<Lease, 'sig'>): Promise<Lease> {
  return { ...lease, sig: await key.sign(leaseBody(lease)) }
}

export async function signClaim(key: PrivateKey, claim: Omit<Claim, 'sig'>): Promise<Claim> {
  return { ...claim, sig: await key.sign(claimBody(claim)) }
}

const encodings = new WeakMap<Claim, Uint8Array>()

/** The claim as it travels and is kept. Encoded once, however often it is passed on. */
export function encodeClaim(claim: Claim): Uint8Array {
  const known = encodings.get(claim)
  if (known !== undefined) return known
  const bytes = encodeCanonical(claim)
  encodings.set(claim, bytes)
  return bytes
}

/** What {@link encodeClaim} made, signatures unchecked. @throws {LayerswarmError} PEER_PROTOCOL for anything else */
export function decodeClaim(bytes: Uint8Array): Claim {
  const claim = decodeMessage(claimSchema, bytes)
  // A copy: the bytes are part of a message, and a claim outlives it.
  encodings.set(claim, bytes.slice())
  return claim
}

/** Hosts and trackers whose keys are kept at hand: making one costs as much as checking a signature. */
const MAX_KEYS = 1024
const keys = new Map<string, KeyObject>()

/** The key that a host's name holds. @throws for a name that is none, or holds none of Ed25519 */
function keyOf(host: string): KeyObject {
  const known = keys.get(host)
  if (known !== undefined) return known
  const raw = peerIdFromString(host).publicKey
  if (raw?.type !== 'Ed25519') throw new Error(`${host} holds no Ed25519 key`)
  const x = Buffer.from(raw.raw).toString('base64url')
  const key = createPublicKey({ format: 'jwk', key: { kty: 'OKP', crv: 'Ed25519', x } })
  if (keys.size >= MAX_KEYS) keys.clear()
  keys.set(host, key)
  return key
}

function signedBy(host: string, body: Uint8Array, sig: Uint8Array): boolean {
  try {
    return verify(null, body, keyOf(host), sig)
  } catch {
    return false
  }
}

/** Whether `lease` carries the signature of the tracker it names. Whether that tracker is ours is the caller's question. */
export function verifyLease(lease: Lease): boolean {
  return signedBy(lease.by, leaseBody(lease), lease.sig)
}

/**
 * Whether `claim` is its author's and lies inside one run and, where it has a lease, inside the run leased to the author.
 * @param isGood stands in for {@link verifyLease}: one lease comes with up to eight claims
 */
export function verifyClaim(claim: Claim, isGood: (lease: Lease) => boolean = verifyLease): boolean {
  const pieces = claimedPieces(claim)
  const run = runOf(pieces.first)
  if (runOf(pieces.first + pieces.count - 1) !== run) return false
  if (claim.lease !== undefined) {
    const { lease } = claim
    if (lease.blob !== claim.blob || lease.holder !== claim.author || lease.run !== run) return false
    if (!isGood(lease)) return false
  }
  return signedBy(claim.author, claimBody(claim), claim.sig)
}

export function claimedPieces(claim: Claim): PieceRun {
  return { first: claim.first, count: claim.hashes.byteLength / PIECE_HASH_BYTES }
}

/** The hash that `claim` states for `piece`; undefined where it says nothing of it. */
export function claimedHash(claim: Claim, piece: number): Uint8Array | undefined {
  const at = (piece - claim.first) * PIECE_HASH_BYTES
  return at < 0 || at >= claim.hashes.byteLength ? undefined : claim.hashes.subarray(at, at + PIECE_HASH_BYTES)
}

/** One name for "the blob these hashes describe", so that two hosts can say in few bytes that they agree. */
export function mapRoot(blob: Digest, hashes: Uint8Array): Uint8Array {
  return createHash('sha256').update(blob).update(hashes).digest()
}
