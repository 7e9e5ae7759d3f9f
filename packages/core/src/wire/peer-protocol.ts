/**
 * What agents say to each other: two libp2p protocols, both of length-prefixed CBOR messages (frames.ts).
 *
 * `/layerswarm/observe/1`: the opener learns what the other host holds. One stream per connection and direction.
 *   opener  → watch {blob, size}     from now on tell me of this blob
 *             unwatch {blob}
 *   holder  → state {blob, size, bits, load}   first answer: the pieces held now (no bits: none, or blob unknown)
 *             have {blob, pieces, load}        pieces held since; batched, the first of a batch leaves at once
 *             claims {blob, claims}            encoded one by one; go before the first have of a piece whose map is not proven
 *             map {blob, size, hashes}         this host's word on a blob that it holds whole; answers watch {map: true}
 *             gone {blob}                      evicted: nothing of it is held any more
 *
 * `/layerswarm/get/1`: the opener fetches pieces. One long-lived stream per neighbour; answers may come in any order,
 * one after another, never interleaved.
 *   opener  → get {id, blob, piece, received, elapsed}   bytes that the asker has received since it began to fetch, and for
 *                                              how long it has, ms: who fares worst is served first
 *             cancel {id}                      a waiting request; one that runs is answered all the same, unless the opener
 *                                              resets the stream
 *   holder  → data {id, length, load}          then `length` raw bytes
 *             no {id, reason, load}            gone: no longer held; missing: not held yet; cancelled
 *
 * Goals: bytes at the cost of a plain TLS socket; a peer that lies, stalls or dies costs one piece.
 * Non-goals: discovery (the directory does it), trust in what a peer says (pieces are verified where they are written).
 * Versions: a host that speaks a newer version registers both ids; where two hosts share none, PEER_VERSION says so.
 */
import { z } from 'zod'
import { bytesField, digestField, loadField, pieceField, piecesField, sizeField } from './fields.ts'

export const OBSERVE_PROTOCOL = '/layerswarm/observe/1'
export const GET_PROTOCOL = '/layerswarm/get/1'

/** A piece map of 17,920 pieces (70 GiB at 4 MiB) takes 573 KiB; 4 MiB leaves room for half a TiB. */
export const MAX_OBSERVE_MESSAGE = 4 * 1024 * 1024
export const MAX_GET_MESSAGE = 4096
/** Claims that one message carries, of some 600 bytes each. */
export const MAX_LISTED_CLAIMS = 512
/** Of eight hashes and its lease, with the longest names that its fields take. */
export const MAX_CLAIM_BYTES = 2048
/** Blobs that one neighbour may watch at once: an image has some hundred layers at most. */
export const MAX_WATCHED_BLOBS = 4096
/** Requests that may wait on one get stream. */
export const MAX_QUEUED_REQUESTS = 64

export const observeRequest = z.discriminatedUnion('t', [
  z.object({ t: z.literal('watch'), blob: digestField, size: sizeField, map: z.boolean().optional() }),
  z.object({ t: z.literal('unwatch'), blob: digestField })
])
export type ObserveRequest = z.infer<typeof observeRequest>

/** An encoded claim, whole: whoever has it already need not look into it. */
const claimField = bytesField.refine((bytes) => bytes.byteLength <= MAX_CLAIM_BYTES, 'a claim too long')

export const observeUpdate = z.discriminatedUnion('t', [
  z.object({ t: z.literal('state'), blob: digestField, size: sizeField, bits: bytesField.optional(), load: loadField }),
  z.object({ t: z.literal('have'), blob: digestField, pieces: piecesField, load: loadField }),
  z.object({ t: z.literal('claims'), blob: digestField, claims: z.array(claimField).max(MAX_LISTED_CLAIMS) }),
  z.object({ t: z.literal('map'), blob: digestField, size: sizeField, hashes: bytesField }),
  z.object({ t: z.literal('gone'), blob: digestField })
])
export type ObserveUpdate = z.infer<typeof observeUpdate>

const requestId = z.int().min(0).max(0xffffffff)

export const getRequest = z.discriminatedUnion('t', [
  z.object({
    t: z.literal('get'),
    id: requestId,
    blob: digestField,
    piece: pieceField,
    received: sizeField,
    elapsed: z.int().min(0).max(0xffffffff)
  }),
  z.object({ t: z.literal('cancel'), id: requestId })
])
export type GetRequest = z.infer<typeof getRequest>

export const getReply = z.discriminatedUnion('t', [
  z.object({
    t: z.literal('data'),
    id: requestId,
    length: z
      .int()
      .min(0)
      .max(4 * 1024 * 1024),
    load: loadField
  }),
  z.object({ t: z.literal('no'), id: requestId, reason: z.enum(['gone', 'missing', 'cancelled']), load: loadField })
])
export type GetReply = z.infer<typeof getReply>
