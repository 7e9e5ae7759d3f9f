/**
 * What the `layerswarm` command and the agent of its host say to each other, over HTTP on the agent's admin address.
 *
 * `POST /v1/pull {image, platforms?}` answers 200 with one JSON event per line (`application/x-ndjson`): any number of
 * `progress`, then one `done` or `failed`. Closing the connection gives the pull up; what has arrived stays in the store.
 *   progress  {digest, size, counts, done}   one configuration or layer; its last one says done, and in between there
 *                                            are a few per second at most
 *   done      {image, digest, manifests, blobs, skipped, bytes, counts, stale, seconds}
 *                                            image: the reference with its defaults filled in; blobs: configurations and
 *                                            layers; skipped: layers that may only be had from elsewhere; bytes: of all,
 *                                            each once; stale: the registry could not be asked for the tag
 *   failed    {code, detail?}                a code of the error table
 * counts is {local, peer, registry}: bytes that were here already, and those that came from where.
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

const sourceCounts = z.object({ local: sizeField, peer: sizeField, registry: sizeField })

export const pullEvent = z.discriminatedUnion('event', [
  z.object({ event: z.literal('progress'), digest: digestField, size: sizeField, counts: sourceCounts, done: z.boolean() }),
  z.object({
    event: z.literal('done'),
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
