/**
 * `GET /v1/status` on the agent's admin address: what it has and does now, and why.
 *   {id, name, version, seconds, tracker: {connected, configured}, peers, store: {complete: {blobs, bytes},
 *    partial: {blobs, bytes}, bound}, limits: {upload?, download?, registry?}, containerd: {offered, unproven, corrupt, problem?}, transfers: […]}
 *                         seconds: since it started; configured: trackers that it was given; peers: connections to other
 *                         agents; bound: most bytes that the store may hold
 *   limits: bytes a second, those that were set
 *   containerd: {blobs, bytes} of what it holds: offered to others, yet to be hashed, or found corrupt and not offered;
 *                         problem: why it cannot be asked, while it is there
 *   transfers: {digest, repository, size, counts, seconds, waiting, sources: {peers, requests, registry, leases}, order}
 *                         counts: as for a pull; seconds: since it began; waiting: clients that wait for its bytes; peers: hosts
 *                         that have some of it; requests: pieces asked of them now; registry: connections to the registry for it;
 *                         leases: runs of pieces that are this host's to fetch there; order: `leases` while the tracker deals
 *                         them out, `own` while this host goes without one
 */
import { z } from 'zod'
import { digestField, sizeField } from '../wire/fields.ts'
import { sourceCounts } from './local-api.ts'

export const STATUS_PATH = '/v1/status'

const amount = z.object({ blobs: sizeField, bytes: sizeField })

const transferStatus = z.object({
  digest: digestField,
  repository: z.string(),
  size: sizeField,
  counts: sourceCounts,
  seconds: z.number().min(0),
  waiting: sizeField,
  sources: z.object({ peers: sizeField, requests: sizeField, registry: sizeField, leases: sizeField }),
  order: z.enum(['leases', 'own'])
})
export type TransferStatus = z.infer<typeof transferStatus>

export const agentStatus = z.object({
  id: z.string(),
  name: z.string(),
  version: z.string(),
  seconds: z.number().min(0),
  tracker: z.object({ connected: z.boolean(), configured: sizeField }),
  peers: sizeField,
  store: z.object({ complete: amount, partial: amount, bound: sizeField }),
  limits: z.object({ upload: sizeField, download: sizeField, registry: sizeField }).partial().optional(),
  containerd: z.object({ offered: amount, unproven: amount, corrupt: amount, problem: z.string().optional() }).optional(),
  transfers: z.array(transferStatus)
})
export type AgentStatus = z.infer<typeof agentStatus>
