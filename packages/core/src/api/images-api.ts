/**
 * What the `layerswarm` command asks about images and blobs that a host holds, on the agent's admin address. Lists and
 * work that takes time are answered with one JSON document per line; the last one is `totals` or `summary`, or `error`
 * (see the pull). platforms: as for a pull; whose layers an image needs to be complete.
 *
 * `GET /v1/images?platform=…`: `{image: …}` for each, then `{totals: …}`
 *   image: {image, digest, mediaType, state, present, required, size, held}
 *                          state: complete, incomplete, or missing (known by name, its manifest is not here); required:
 *                          configurations and layers that its platforms need, absent while a manifest is missing; present:
 *                          those that are here; size, held: bytes of all that is needed, and of what is here of it
 *   totals: {images, blobs, bytes, referenced, unused: {blobs, bytes}, containerd: {blobs, bytes}, twice: {blobs, bytes}}
 *                          bytes: of all whole blobs, each once; referenced: bytes that the images name, each once per
 *                          image; containerd: those that lie in containerd; twice: those that lie in the store too
 * `GET /v1/blobs?images=true`: the blobs, with the names of the `images` that use each
 *   {digest, size, state, present, usedAt, places, images}
 *                          places: where it lies whole, `store` and `containerd`; absent: in the store alone
 * `POST /v1/check {image?, platforms?, verify?, repair?}`: any number of `progress`, `image` and `failed`, then `summary`
 *   {progress: {digest, size, bytes, done}}   a blob that is hashed or fetched again
 *   {image: {…, corrupt}}                     as above, once it is checked; corrupt: blobs of it that were
 *   {failed: {image, error}}                  what could not be fetched again
 *   {summary: {sound, images, complete, incomplete, missing, corrupt: [{digest, size, images}], mended, verified: {blobs, bytes}, seconds}}
 * `POST /v1/gc`: `{evicted: [{digest, size, state}], bytes, kept, bound}`; kept: bytes that stay; bound: most bytes that may
 * `GET /v1/blobs/DIGEST`: what is held of one blob; 404 where nothing is
 * `POST /v1/blobs/DIGEST`: takes a blob into the store; its length goes before it, and its digest is proven
 * `GET /v1/content/DIGEST?scope=…&kind=blob|manifest`: content of a repository, fetched where it is not here
 */
import { z } from 'zod'
import { digestField, mediaTypeField, scopeField, sizeField } from '../wire/fields.ts'
import { errorReply, platformsField, referenceField } from './local-api.ts'

export const IMAGES_PATH = '/v1/images'
export const BLOBS_PATH = '/v1/blobs'
export const CHECK_PATH = '/v1/check'
export const GC_PATH = '/v1/gc'
export const CONTENT_PATH = '/v1/content'

export const heldImage = z.object({
  image: z.string(),
  digest: digestField,
  mediaType: mediaTypeField,
  state: z.enum(['complete', 'incomplete', 'missing']),
  present: sizeField,
  required: sizeField.optional(),
  size: sizeField,
  held: sizeField
})
export type HeldImage = z.infer<typeof heldImage>

const amount = z.object({ blobs: sizeField, bytes: sizeField })

const storeTotals = z.object({
  images: sizeField,
  blobs: sizeField,
  bytes: sizeField,
  referenced: sizeField,
  unused: amount,
  containerd: amount.optional(),
  twice: amount.optional()
})
export type StoreTotals = z.infer<typeof storeTotals>

export const imagesLine = z.union([z.object({ image: heldImage }), z.object({ totals: storeTotals }), errorReply])
export type ImagesLine = z.infer<typeof imagesLine>

export const heldBlob = z.object({
  digest: digestField,
  size: sizeField,
  state: z.enum(['complete', 'partial']),
  present: sizeField,
  usedAt: z.number(),
  places: z.array(z.enum(['store', 'containerd'])).optional(),
  images: z.array(z.string()).optional()
})
export type HeldBlob = z.infer<typeof heldBlob>

export const checkRequest = z.strictObject({
  image: referenceField.optional(),
  platforms: platformsField.optional(),
  /** Hash everything again. */
  verify: z.boolean().optional(),
  /** Fetch again what is missing or corrupt. */
  repair: z.boolean().optional()
})
export type CheckRequest = z.infer<typeof checkRequest>

const checkedImage = heldImage.extend({ corrupt: sizeField })
export type CheckedImage = z.infer<typeof checkedImage>

const checkSummary = z.object({
  sound: z.boolean(),
  images: sizeField,
  complete: sizeField,
  incomplete: sizeField,
  missing: sizeField,
  corrupt: z.array(z.object({ digest: digestField, size: sizeField, images: z.array(z.string()) })),
  mended: sizeField,
  verified: amount,
  seconds: z.number().min(0)
})
export type CheckSummary = z.infer<typeof checkSummary>

const blobProgress = z.object({ digest: digestField, size: sizeField, bytes: sizeField, done: z.boolean() })

export const checkLine = z.union([
  z.object({ progress: blobProgress }),
  z.object({ image: checkedImage }),
  z.object({ failed: z.object({ image: z.string() }).extend(errorReply.shape) }),
  z.object({ summary: checkSummary }),
  errorReply
])
export type CheckLine = z.infer<typeof checkLine>

export const gcReply = z.object({
  evicted: z.array(z.object({ digest: digestField, size: sizeField, state: z.enum(['complete', 'partial']) })),
  bytes: sizeField,
  kept: sizeField,
  bound: sizeField
})
export type GcReply = z.infer<typeof gcReply>

export const contentQuery = z.object({ scope: scopeField, kind: z.enum(['blob', 'manifest']) })
