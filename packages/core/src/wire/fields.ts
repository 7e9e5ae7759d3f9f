import { z } from 'zod'
import { type Digest, isDigest } from '../digest.ts'
import { MAX_BLOB_SIZE } from '../piece-layout.ts'

/** Most pieces that one message names one by one. */
export const MAX_LISTED_PIECES = 4096
/** Most blobs that one message names. */
export const MAX_LISTED_BLOBS = 1024
/** Most claims that one message brings against their authors: one for each author is enough. */
export const MAX_EVIDENCE_CLAIMS = 8

export const digestField = z.string().max(140).refine(isDigest, 'not a digest') as unknown as z.ZodType<Digest>
export const sizeField = z.int().min(0).max(MAX_BLOB_SIZE)
export const pieceField = z.int().min(0).max(0xffffffff)
export const piecesField = z.array(pieceField).max(MAX_LISTED_PIECES)
export const bytesField = z.instanceof(Uint8Array) as z.ZodType<Uint8Array>
/** A libp2p peer id in its text form. */
export const hostIdField = z.string().min(1).max(128)
export const loadField = z.int().min(0).max(1_000_000)
export const nameField = z.string().max(255)
export const mediaTypeField = z.string().max(255)
/** `registry/repository` as configured and asked for, for example `docker.io/library/nginx`. */
export const scopeField = z.string().min(1).max(512)
