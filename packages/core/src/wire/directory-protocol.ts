/**
 * What an agent and the tracker say to each other, over `/layerswarm/directory/1`: one libp2p stream that the agent
 * keeps open, length-prefixed CBOR both ways. All of it is soft state: an agent that reconnects says everything again.
 *
 * agent → hello      who I am and where peers reach me; first message, once
 *         hold       complete blobs held (full: the list replaces what was said before) and dropped
 *         partial    a blob being fetched, with what is there and the leases in hand; after hello, when there is one
 *         plan       I want these blobs (an image's layers, in manifest order); answered by plan with the same id
 *         report     progress on leases of one blob, at once when a leased run is there, else at most each 100 ms. Without
 *                    news one such report, of any blob, each 100 ms while leases of some are held (until all their pieces
 *                    are spread). All of it since the last report: got, pieces that this host fetched from the registry;
 *                    spread, pieces of those that a peer announced; bytes that the registry sent for this blob, those of a
 *                    fetch without a lease included. whole: the registry ignores Range and streams the blob to this host
 *                    from byte 0
 *         release    leases given back; bar: never lease this blob to me again (no access, too slow)
 *         peers      fewer than enough live neighbours for this blob: name more
 *         orphans    idle, and these pieces are at no neighbour
 *         done       the whole digest is proven; root names the piece map
 *         map        the piece map, when asked for by wantMap
 *         dispute    all pieces fit what was vouched for, and the whole does not fit its digest
 *         evidence   claims that the pieces contradict with which this host has proven the digest; only of blobs that
 *                    came over TLS: on plain HTTP false bytes may be anybody's
 *         cancel     the blob is wanted no longer; its leases are given back
 *         seeding    how a seed fares here: at each change of its state, and between them as often as was asked for
 *
 * tracker → welcome  answers hello; observed: the address the agent is seen at
 *         plan       per blob: what is known, the map if there is one, leases for the asker; one peer list for all
 *         leases     more leases, or leases taken away (take-over)
 *         peers      hosts to connect to for a blob; gateway: this host has become one for it
 *         map        a piece map that became known while the blob is being fetched
 *         wantMap    send the map of this blob
 *         seed       fetch this image ahead of use, and tell how it goes; said again after a reconnect, the present state is
 *                    told again. Only to agents whose hello says that they take seeds
 *         unseed     the image need not be fetched any more
 */
import { z } from 'zod'
import { namespaceField, platformsField, referenceField, sourceCounts } from '../api/local-api.ts'
import { claimSchema, leaseSchema } from '../claims.ts'
import { PIECE_HASH_BYTES } from '../digest.ts'
import {
  bytesField,
  digestField,
  hostIdField,
  MAX_EVIDENCE_CLAIMS,
  MAX_LISTED_BLOBS,
  mediaTypeField,
  nameField,
  pieceField,
  piecesField,
  scopeField,
  sizeField
} from './fields.ts'

export const DIRECTORY_PROTOCOL = '/layerswarm/directory/1'
/** A plan of 1,024 blobs with maps is sent in parts; one message never needs more. */
export const MAX_DIRECTORY_MESSAGE = 4 * 1024 * 1024

export const holdingSchema = z.object({
  digest: digestField,
  size: sizeField,
  /** Of a manifest; absent for other blobs. */
  mediaType: mediaTypeField.optional(),
  /** The `registry/repository` names under which this host may vouch for it (manifests only). */
  scopes: z.array(scopeField).max(64).optional()
})
/** A blob that a host holds whole. */
export type Holding = z.infer<typeof holdingSchema>

export const peerSchema = z.object({
  id: hostIdField,
  /** Multiaddrs without the /p2p part. */
  addrs: z.array(z.string().max(256)).max(16),
  name: nameField,
  /** Named only where it is not the asker's own: such a host is there for imports. */
  zone: nameField.optional()
})
/** A host to connect to. */
export type PeerAddress = z.infer<typeof peerSchema>

const seedIdField = z.string().min(1).max(64)
/** The tracker keeps one per host and seed. */
export const MAX_REASON = 500
const reasonField = z.object({ code: z.string().max(64), message: z.string().max(MAX_REASON), remedy: z.string().max(MAX_REASON) })

const seedingMessage = z.object({
  t: z.literal('seeding'),
  id: seedIdField,
  state: z.enum(['queued', 'fetching', 'done', 'failed']),
  /** Bytes of the image for this host; 0 until it is known. */
  size: sizeField,
  counts: sourceCounts,
  digest: digestField.optional(),
  /** Bytes that this host's containerd lacked and was given, where that was asked for. */
  given: sizeField.optional(),
  /** The registry could not be asked for the tag: it is what the tag pointed to before. */
  stale: z.boolean().optional(),
  /** Why it failed. */
  error: reasonField.optional()
})
/** How a seed fares at a host. */
export type SeedReport = z.infer<typeof seedingMessage>

const seedMessage = z.object({
  t: z.literal('seed'),
  id: seedIdField,
  image: referenceField,
  platforms: platformsField.optional(),
  /** The namespace of containerd that gets the image too. */
  containerd: namespaceField.optional(),
  /** Least time between two reports of the same state, ms. */
  every: z.int().min(100).max(600_000)
})
/** An image that a host shall fetch ahead of use. */
export type SeedOrder = z.infer<typeof seedMessage>

/** As mapRoot in claims.ts makes it. */
const rootField = bytesField.refine((bytes) => bytes.byteLength === PIECE_HASH_BYTES, 'not a root')

export const agentMessage = z.discriminatedUnion('t', [
  z.object({
    t: z.literal('hello'),
    name: nameField,
    version: z.string().max(64),
    zone: nameField.optional(),
    /** The p2p port, for the address the tracker sees. */
    port: z.int().min(0).max(65535),
    addrs: z.array(z.string().max(256)).max(16),
    /** It takes seeds. */
    seeds: z.boolean().optional()
  }),
  z.object({
    t: z.literal('hold'),
    full: z.boolean(),
    add: z.array(holdingSchema).max(MAX_LISTED_BLOBS),
    drop: z.array(digestField).max(MAX_LISTED_BLOBS)
  }),
  z.object({
    t: z.literal('partial'),
    blob: digestField,
    size: sizeField,
    bits: bytesField,
    leases: z.array(leaseSchema).max(MAX_LISTED_BLOBS)
  }),
  z.object({
    t: z.literal('plan'),
    id: z.int().min(0),
    scope: scopeField,
    blobs: z
      .array(z.object({ digest: digestField, size: sizeField.optional() }))
      .min(1)
      .max(MAX_LISTED_BLOBS),
    /** Whether this host's own request for this repository was granted by the registry: only then it may hold leases. */
    origin: z.boolean(),
    /** False: only tell what is known; nothing is wanted yet, no lease is granted. */
    want: z.boolean(),
    /** Measured link rate, bytes a second. */
    rate: z.number().min(0).optional()
  }),
  z.object({
    t: z.literal('report'),
    blob: digestField,
    got: piecesField,
    spread: piecesField,
    bytes: sizeField,
    whole: z.boolean().optional()
  }),
  z.object({
    t: z.literal('release'),
    blob: digestField,
    runs: piecesField,
    reason: z.enum(['denied', 'busy', 'failed', 'slow', 'stopping']),
    bar: z.boolean()
  }),
  z.object({ t: z.literal('peers'), blob: digestField, live: z.int().min(0) }),
  z.object({ t: z.literal('orphans'), blob: digestField, pieces: piecesField }),
  z.object({ t: z.literal('done'), blob: digestField, size: sizeField, root: rootField }),
  z.object({ t: z.literal('map'), blob: digestField, size: sizeField, hashes: bytesField }),
  z.object({ t: z.literal('dispute'), blob: digestField }),
  z.object({ t: z.literal('evidence'), blob: digestField, claims: z.array(claimSchema).min(1).max(MAX_EVIDENCE_CLAIMS) }),
  z.object({ t: z.literal('cancel'), blob: digestField }),
  seedingMessage
])
export type AgentMessage = z.infer<typeof agentMessage>

const mapSchema = z.object({
  hashes: bytesField,
  /** Two hosts have proven the same map. Otherwise it is one host's word: a piece that fails it is nobody's proven fault. */
  proven: z.boolean()
})
/** SHA-256 of every piece of a blob, in order. */
export type PieceMap = z.infer<typeof mapSchema>

const gatewaySchema = z.object({ number: z.int().min(0), of: z.int().min(1) })
/**
 * The place of a zone's gateway: of `of` gateways it is the one whose runs importer.ts numbers `number`, and imports those
 * from gateways of other zones. A number that is not below `of`: the host has lost its place.
 */
export type Gateway = z.infer<typeof gatewaySchema>

export const plannedBlobSchema = z.object({
  digest: digestField,
  size: sizeField.optional(),
  mediaType: mediaTypeField.optional(),
  /** A host of the fleet has reached this content through the asked scope. */
  known: z.boolean(),
  /** Hosts that hold it whole. */
  complete: pieceField,
  map: mapSchema.optional(),
  gateway: gatewaySchema.optional(),
  leases: z.array(leaseSchema).max(MAX_LISTED_BLOBS)
})
export type PlannedBlob = z.infer<typeof plannedBlobSchema>

export const trackerMessage = z.discriminatedUnion('t', [
  z.object({ t: z.literal('welcome'), version: z.string().max(64), observed: z.string().max(256) }),
  z.object({
    t: z.literal('plan'),
    id: z.int().min(0),
    blobs: z.array(plannedBlobSchema).max(MAX_LISTED_BLOBS),
    peers: z.array(peerSchema).max(64)
  }),
  z.object({ t: z.literal('leases'), blob: digestField, grant: z.array(leaseSchema).max(MAX_LISTED_BLOBS), revoke: piecesField }),
  z.object({ t: z.literal('peers'), blob: digestField, peers: z.array(peerSchema).max(64), gateway: gatewaySchema.optional() }),
  z.object({ t: z.literal('map'), blob: digestField, size: sizeField, map: mapSchema }),
  z.object({ t: z.literal('wantMap'), blob: digestField }),
  seedMessage,
  z.object({ t: z.literal('unseed'), id: seedIdField })
])
export type TrackerMessage = z.infer<typeof trackerMessage>
