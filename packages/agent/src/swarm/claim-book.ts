import { hash } from 'node:crypto'
import {
  type Claim,
  claimedHash,
  claimedPieces,
  decodeClaim,
  encodeClaim,
  type Lease,
  verifyClaim,
  verifyLease
} from '@layerswarm/core/claims.ts'
import { type Digest, hexOf, PIECE_HASH_BYTES } from '@layerswarm/core/digest.ts'
import { type PieceLayout, runCount } from '@layerswarm/core/piece-layout.ts'
import { PieceSet } from '@layerswarm/core/piece-set.ts'

/** Claims kept for one piece, one of each author: two are enough, a third decides between two that differ. */
const MAX_CLAIMS_PER_PIECE = 4
/** Authors that must say the same of a piece of a blob in dispute. */
const AUTHORS_IN_DISPUTE = 2
/** Claims remembered for each piece, so that what comes again costs nothing. */
const SEEN_PER_PIECE = 4 * MAX_CLAIMS_PER_PIECE

/** Verdicts on leases kept for each run of a blob: a run changes hands a few times at most. */
const LEASES_PER_RUN = 8

export interface ClaimTrust {
  /** Trackers whose leases count. */
  readonly trusted: ReadonlySet<string>
  /** While there is a tracker, a claim needs a lease. */
  readonly connected: boolean
  /** The blob once did not match its digest: from then on what no two hosts say counts for nothing. */
  readonly disputed?: boolean
}

/** What is known of the SHA-256 of a blob's pieces: a map, or signed claims while there is none. */
export class ClaimBook {
  readonly #blob: Digest
  readonly #layout: PieceLayout
  readonly #trust: ClaimTrust
  readonly #seen = new Set<string>()
  readonly #claims: Claim[] = []
  readonly #leases = new Map<string, boolean>()
  readonly #byPiece = new Map<number, Claim[]>()
  #map: { readonly hashes: Uint8Array; readonly proven: boolean } | undefined

  constructor(blob: Digest, layout: PieceLayout, trust: ClaimTrust) {
    this.#blob = blob
    this.#layout = layout
    this.#trust = trust
  }

  get mapProven(): boolean {
    return this.#map?.proven === true
  }

  get hasMap(): boolean {
    return this.#map !== undefined
  }

  /** Hosts whose claims are kept. */
  get authors(): ReadonlySet<string> {
    return new Set(this.#claims.map((claim) => claim.author))
  }

  /** @returns whether `hashes` is news and fits the layout. */
  setMap(hashes: Uint8Array, proven: boolean): boolean {
    if (hashes.byteLength !== this.#layout.pieces * PIECE_HASH_BYTES) return false
    if (this.#map !== undefined && (this.#map.proven || !proven)) return false
    if (!proven && this.#trust.disputed === true) return false
    this.#map = { hashes, proven }
    return true
  }

  dropMap(): void {
    this.#map = undefined
  }

  /** Keeps the claims, encoded as they came, that hold. @returns those that are new */
  add(claims: readonly Uint8Array[]): Claim[] {
    return claims.flatMap((bytes) => {
      const key = nameOf(bytes)
      if (this.#seen.has(key)) return []
      if (this.#seen.size > SEEN_PER_PIECE * this.#layout.pieces) this.#seen.clear()
      this.#seen.add(key)
      const claim = decoded(bytes)
      return claim !== undefined && this.#holds(claim) && this.#keep(claim) ? [claim] : []
    })
  }

  /** Keeps a claim that needs no check. @returns whether it says something of a piece that its author and enough others have not */
  addOwn(claim: Claim): boolean {
    this.#seen.add(nameOf(encodeClaim(claim)))
    return this.#keep(claim)
  }

  #keep(claim: Claim): boolean {
    const { first, count } = claimedPieces(claim)
    let kept = false
    for (let piece = first; piece < first + count; piece++) {
      const others = this.#byPiece.get(piece) ?? []
      if (others.length >= MAX_CLAIMS_PER_PIECE || others.some(({ author }) => author === claim.author)) continue
      others.push(claim)
      this.#byPiece.set(piece, others)
      kept = true
    }
    if (kept) this.#claims.push(claim)
    return kept
  }

  #holds(claim: Claim): boolean {
    const { first, count } = claimedPieces(claim)
    if (claim.blob !== this.#blob || first + count > this.#layout.pieces) return false
    if (claim.lease === undefined ? this.#trust.connected : !this.#trust.trusted.has(claim.lease.by)) return false
    return verifyClaim(claim, (lease) => this.#isGood(lease))
  }

  /** Each lease is verified once, however many claims come under it. */
  #isGood(lease: Lease): boolean {
    const key = keyOf(lease.sig, lease.run, lease.holder, lease.serial, lease.instead ?? '', lease.by)
    const known = this.#leases.get(key)
    if (known !== undefined) return known
    if (this.#leases.size > LEASES_PER_RUN * runCount(this.#layout)) this.#leases.clear()
    const verdict = verifyLease(lease)
    this.#leases.set(key, verdict)
    return verdict
  }

  /** The SHA-256 values that `piece` may have; undefined while nothing is known. */
  expected(piece: number): Uint8Array[] | undefined {
    // The store proves a blob of one piece by its digest, whatever its algorithm.
    if (this.#layout.pieces === 1) return this.#blob.startsWith('sha256:') ? [Buffer.from(hexOf(this.#blob), 'hex')] : []
    if (this.#map !== undefined) return [this.#map.hashes.subarray(piece * PIECE_HASH_BYTES, (piece + 1) * PIECE_HASH_BYTES)]
    const hashes = this.#byPiece.get(piece)?.flatMap((claim) => claimedHash(claim, piece) ?? [])
    if (this.#trust.disputed !== true) return hashes
    const agreed = hashes?.filter((hash) => hashes.filter((other) => isEqual(hash, other)).length >= AUTHORS_IN_DISPUTE)
    return agreed?.length === 0 ? undefined : agreed
  }

  /** The pieces that enough claims speak of. */
  claimed(): PieceSet {
    return PieceSet.of(
      this.#layout.pieces,
      [...this.#byPiece.keys()].filter((piece) => this.expected(piece) !== undefined)
    )
  }

  /** For each author one claim that contradicts the map of the blob, if there is one. */
  contradicting(map: Uint8Array): Claim[] {
    const found = new Map<string, Claim>()
    for (const [piece, claims] of this.#byPiece) {
      const proven = map.subarray(piece * PIECE_HASH_BYTES, (piece + 1) * PIECE_HASH_BYTES)
      for (const claim of claims) if (!isEqual(claimedHash(claim, piece), proven)) found.set(claim.author, claim)
    }
    return [...found.values()]
  }
}

function nameOf(bytes: Uint8Array): string {
  return hash('sha256', bytes, 'base64')
}

/** Whoever sent something else says it of nobody: there is nothing to hold against it but noise. */
function decoded(bytes: Uint8Array): Claim | undefined {
  try {
    return decodeClaim(bytes)
  } catch {
    return undefined
  }
}

function isEqual(a: Uint8Array | undefined, b: Uint8Array): boolean {
  return a !== undefined && Buffer.compare(a, b) === 0
}

function keyOf(sig: Uint8Array, ...signed: readonly (string | number)[]): string {
  return `${Buffer.from(sig).toString('base64')} ${signed.join(' ')}`
}
