/**
 * `POST /v1/push {image, from}` on the agent's admin address: gives a registry an image. from: `{image}` for one that this
 * host knows by name, `{image, at: "containerd"}` for what containerd knows by it, or `{root: {mediaType, digest, size}}`
 * for a manifest in its store. Answered with one JSON document per line: any number of `progress`, then `summary` or
 * `error` (see the pull). Closing the connection gives the push up; what the registry has by then, it is not sent again.
 *   {progress: {digest, size, bytes, how, done, hashed}}
 *                                                  one configuration or layer; bytes: sent so far; how: `sent`, or `held` or
 *                                                  `mounted` for what the registry had, here or in another repository; hashed:
 *                                                  bytes that are proven so far, while they have to be before the first is sent
 *   {summary: {image, digest, manifests, blobs, skipped, bytes, sent, mounted, held, seconds}}
 *                                                  bytes: of all blobs; the next three: what became of them
 */
import { z } from 'zod'
import { digestField, mediaTypeField, sizeField } from '../wire/fields.ts'
import { errorReply, referenceField } from './local-api.ts'

export const PUSH_PATH = '/v1/push'

const rootDescriptor = z.object({ mediaType: mediaTypeField.min(1), digest: digestField, size: sizeField })

export const pushRequest = z.strictObject({
  image: referenceField,
  from: z.union([
    z.strictObject({ image: referenceField, at: z.literal('containerd').optional() }),
    z.strictObject({ root: rootDescriptor })
  ])
})
export type PushRequest = z.infer<typeof pushRequest>

const pushProgress = z.object({
  digest: digestField,
  size: sizeField,
  bytes: sizeField,
  how: z.enum(['sent', 'held', 'mounted']),
  done: z.boolean(),
  hashed: sizeField.optional()
})
export type PushProgress = z.infer<typeof pushProgress>

const pushSummary = z.object({
  image: z.string(),
  digest: digestField,
  manifests: sizeField,
  blobs: sizeField,
  skipped: sizeField,
  bytes: sizeField,
  sent: sizeField,
  mounted: sizeField,
  held: sizeField,
  seconds: z.number().min(0)
})
export type PushSummary = z.infer<typeof pushSummary>

export const pushLine = z.union([z.object({ progress: pushProgress }), z.object({ summary: pushSummary }), errorReply])
export type PushLine = z.infer<typeof pushLine>
