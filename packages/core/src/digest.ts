import { hash } from 'node:crypto'
import { LayerswarmError } from './errors.ts'

/** A content digest as the OCI image spec writes it: `algorithm:hex`, lower case. */
export type Digest = string & { readonly __brand: 'Digest' }

const HEX_LENGTH: Readonly<Record<string, number>> = { sha256: 64, sha512: 128 }
const PATTERN = /^(sha256|sha512):([0-9a-f]+)$/

export function isDigest(text: string): text is Digest {
  const match = PATTERN.exec(text)
  return match !== null && match[2]?.length === HEX_LENGTH[match[1] ?? '']
}

/** @throws {LayerswarmError} DIGEST_INVALID unless `text` is a sha256 or sha512 digest in canonical form. */
export function parseDigest(text: string): Digest {
  if (!isDigest(text)) throw new LayerswarmError('DIGEST_INVALID', { detail: text.slice(0, 200) })
  return text
}

export function algorithmOf(digest: Digest): 'sha256' | 'sha512' {
  return digest.startsWith('sha256:') ? 'sha256' : 'sha512'
}

export function hexOf(digest: Digest): string {
  return digest.slice(digest.indexOf(':') + 1)
}

/** The digest of `bytes`, by the algorithm of `like` (default sha256). */
export function digestOf(bytes: Uint8Array, like?: Digest): Digest {
  const algorithm = like === undefined ? 'sha256' : algorithmOf(like)
  return `${algorithm}:${hash(algorithm, bytes, 'hex')}` as Digest
}

/** SHA-256 of one piece: 32 bytes. */
export function pieceHash(bytes: Uint8Array): Uint8Array {
  return hash('sha256', bytes, 'buffer')
}

export const PIECE_HASH_BYTES = 32
