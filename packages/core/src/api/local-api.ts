/**
 * What the `layerswarm` command and the agent of its host say to each other, over HTTP on the agent's admin address.
 *
 * `POST /v1/pull {image, platforms?, containerd?}` answers 200 with one JSON document per line (`application/x-ndjson`): any number
 * of `progress`, then one `summary` or `error`. Closing the connection gives the pull up; what has arrived stays in the
 * store. platforms: `all`, or a list of `os/architecture[/variant]`; the agent's own where it is absent.
 * containerd: the namespace of this host's containerd that gets the image too.
 *   {progress: {digest, size, counts, done}}   one configuration or layer; its last one says done, and in between there
 *                                              are a few per second at most
 *   {summary: {image, digest, manifests, blobs, skipped, bytes, counts, stale, containerd, seconds}}
 *                                              image: the reference with its defaults filled in; blobs: configurations and
 *                                              layers; skipped: layers that may only be had from elsewhere; bytes: of all,
 *                                              each once; stale: the registry could not be asked for the tag;
 *                                              containerd: {namespace, blobs, bytes} that it lacked, where that was asked for
 *   {error: {code, message, remedy}}           code: one of the error table, or UNKNOWN
 * counts is {local, peer, registry}: bytes that were here already, and those that came from where.
 *
 * Whatever changes something here, and content itself, is for callers on the same host; where the address is beyond
 * loopback, others get 403 LOCAL_ONLY. Health, metrics, status and lists they may read.
 *
 * A request that cannot be begun is answered with a status from 400 on and one document `{error: …}`.
 */
import { z } from 'zod'
import { describeError, LayerswarmError } from '../errors.ts'
import { digestField, sizeField } from '../wire/fields.ts'

export const PULL_PATH = '/v1/pull'
export const NDJSON_TYPE = 'application/x-ndjson'

/** References have up to 255 characters of repository, besides registry, tag and digest. */
const MAX_REFERENCE = 1024
const MAX_PLATFORMS = 64

export const referenceField = z.string().min(1).max(MAX_REFERENCE)
export const platformsField = z.union([z.literal('all'), z.array(z.string().max(64)).min(1).max(MAX_PLATFORMS)])

/** As containerd checks them. */
const MAX_NAMESPACE = 76

export function isContainerdNamespace(text: string): boolean {
  return text.length <= MAX_NAMESPACE && /^[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*$/.test(text)
}

export const namespaceField = z.string().refine(isContainerdNamespace, 'not a namespace of containerd')

export const pullRequest = z.strictObject({
  image: referenceField,
  platforms: platformsField.optional(),
  containerd: namespaceField.optional()
})
export type PullRequest = z.infer<typeof pullRequest>

export const sourceCounts = z.object({ local: sizeField, peer: sizeField, registry: sizeField })

const pullProgress = z.object({ digest: digestField, size: sizeField, counts: sourceCounts, done: z.boolean() })
export type PullProgress = z.infer<typeof pullProgress>

const pullSummary = z.object({
  image: z.string(),
  digest: digestField,
  manifests: sizeField,
  blobs: sizeField,
  skipped: sizeField,
  bytes: sizeField,
  counts: sourceCounts,
  stale: z.boolean(),
  containerd: z.object({ namespace: z.string(), blobs: sizeField, bytes: sizeField }).optional(),
  seconds: z.number().min(0)
})
export type PullSummary = z.infer<typeof pullSummary>

export const errorReply = z.object({ error: z.object({ code: z.string(), message: z.string(), remedy: z.string() }) })
export type ErrorReply = z.infer<typeof errorReply>

/** An error as this API tells it. */
export function toldError(error: unknown): ErrorReply['error'] {
  if (error instanceof LayerswarmError) return { code: error.code, message: describeError(error), remedy: error.remedy }
  return { code: 'UNKNOWN', message: describeError(error), remedy: "see the agent's log" }
}

/** One line of the answer to a pull. */
export const pullLine = z.union([z.object({ progress: pullProgress }), z.object({ summary: pullSummary }), errorReply])
export type PullLine = z.infer<typeof pullLine>
