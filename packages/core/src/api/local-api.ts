/**
 * What the `layerswarm` command and the agent of its host say to each other, over HTTP on the agent's admin address.
 *
 * `POST /v1/pull` with a {@link pullRequest} answers 200 with one {@link pullEvent} per line (`application/x-ndjson`):
 * any number of `progress`, then one `done` or `failed`. A blob's last `progress` has `done: true`; in between at most
 * a few per second are sent. Closing the connection gives the pull up; what has arrived stays in the store.
 */
import { z } from 'zod'
import { digestField, sizeField } from '../wire/fields.ts'

export const PULL_PATH = '/v1/pull'
export const NDJSON_TYPE = 'application/x-ndjson'

/** References have up to 255 characters of repository, besides registry, tag and digest. */
const MAX_REFERENCE = 1024
const MAX_PLATFORMS = 64

export const pullRequest = z.strictObject({
  image: z.string().min(1).max(MAX_REFERENCE),
  /** `os/architecture[/variant]` each, or all; the agent's own when absent. */
  platforms: z.union([z.literal('all'), z.array(z.string().max(64)).min(1).max(MAX_PLATFORMS)]).optional()
})
export type PullRequest = z.infer<typeof pullRequest>

/** Bytes by where this host got them. */
const sourceCounts = z.object({ local: sizeField, peer: sizeField, registry: sizeField })

export const pullEvent = z.discriminatedUnion('event', [
  z.object({ event: z.literal('progress'), digest: digestField, size: sizeField, counts: sourceCounts, done: z.boolean() }),
  z.object({
    event: z.literal('done'),
    /** The reference with its defaults filled in. */
    image: z.string(),
    digest: digestField,
    manifests: sizeField,
    blobs: sizeField,
    skipped: sizeField,
    bytes: sizeField,
    counts: sourceCounts,
    stale: z.boolean(),
    seconds: z.number().min(0)
  }),
  z.object({
    event: z.literal('failed'),
    /** A code of the error table; a newer agent may know others. */
    code: z.string(),
    detail: z.string().optional()
  })
])
export type PullEvent = z.infer<typeof pullEvent>
