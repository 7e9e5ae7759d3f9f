import { within } from '@layerswarm/core/deadline.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { isManifestType } from '@layerswarm/core/image/manifest.ts'
import type { FoundContent, ImageManifest } from '../ports.ts'
import type { Exchange } from './exchange.ts'
import { findContent, resolveTag } from './find-content.ts'
import type { Outcome } from './outcome.ts'
import { MANIFEST_MS } from './patience.ts'
import { noneMatchNames } from './range.ts'
import type { Repository } from './request-target.ts'
import { contentHeaders, cutFor, type ServeDeps } from './serve-blob.ts'
import { sourceOf } from './source.ts'

export type ManifestTarget = Repository & { readonly reference: { readonly tag: string } | { readonly digest: Digest } }

/** Answers GET and HEAD of a manifest, by tag and by digest. */
export async function serveManifest(deps: ServeDeps, exchange: Exchange, target: ManifestTarget, outcome: Outcome): Promise<void> {
  const found = await identify(deps, exchange, target)
  const { digest } = found.ref
  outcome.digest = digest
  outcome.source = found.origin
  const etag = `"${digest}"`
  if (noneMatchNames(exchange.header('if-none-match'), etag)) {
    outcome.result = 'unchanged'
    return await exchange.send(304, { ETag: etag, 'Docker-Content-Digest': digest })
  }
  const byTag = 'tag' in target.reference
  const knownType = isManifestType(found.descriptor.mediaType) && found.descriptor.size > 0
  const image = exchange.head && knownType ? undefined : await read(deps, exchange, found, byTag || target.byNamespace)
  const { mediaType, size } = image?.descriptor ?? found.descriptor
  if (byTag && !accepts(exchange.header('accept'), mediaType)) {
    throw new LayerswarmError('MANIFEST_UNKNOWN', { detail: `it is of type ${mediaType}, which the request does not accept` })
  }
  const headers = contentHeaders(digest, mediaType)
  if (exchange.head || image === undefined) {
    return await exchange.send(200, { ...headers, 'Content-Length': size, 'X-Layerswarm-Source': found.origin })
  }
  const cut = cutFor(exchange, size, mediaType, etag)
  outcome.source = sourceOf(image.counts)
  deps.images.served(found.ref, image.manifest)
  const body = Buffer.concat([
    ...cut.ranges.flatMap(({ start, end }, part) => [cut.framing?.heads[part] ?? new Uint8Array(0), image.bytes.subarray(start, end)]),
    cut.framing?.tail ?? new Uint8Array(0)
  ])
  outcome.sent(body.byteLength)
  await exchange.send(cut.status, { ...headers, ...cut.headers, 'Content-Length': cut.length, 'X-Layerswarm-Source': outcome.source }, body)
}

async function identify(deps: ServeDeps, exchange: Exchange, target: ManifestTarget): Promise<FoundContent> {
  const { registry, repository, reference } = target
  if ('digest' in reference) {
    return await findContent(deps, { registry, repository, digest: reference.digest, kind: 'manifest' }, exchange.signal)
  }
  const { descriptor, origin, staleSince } = await resolveTag(deps, { registry, repository, tag: reference.tag }, exchange.signal)
  if (staleSince !== undefined) {
    const since = new Date(staleSince).toISOString()
    exchange.always('Warning', `299 - "${registry} cannot be asked: this is what the tag pointed to at ${since}"`)
  }
  return { ref: { registry, repository, digest: descriptor.digest, kind: 'manifest' }, descriptor, origin }
}

async function read(deps: ServeDeps, exchange: Exchange, found: FoundContent, elsewhere: boolean): Promise<ImageManifest> {
  const { clock, images } = deps
  const ms = elsewhere ? MANIFEST_MS.elsewhere : MANIFEST_MS.nowhere
  const late = () => new LayerswarmError('STALLED', { detail: `no manifest within ${ms} ms` })
  return await within({ clock, ms, late, signal: exchange.signal }, (signal) => images.manifest(found, { signal }))
}

/** Whether an `Accept` header lists the type; without one, everything is welcome. */
export function accepts(header: string | undefined, mediaType: string): boolean {
  if (header === undefined) return true
  return header.split(',').some((entry) => {
    const [type = '', ...parameters] = entry.split(';').map((text) => text.trim().toLowerCase())
    if (parameters.some((parameter) => /^q=0(?:\.0*)?$/.test(parameter))) return false
    return type === mediaType || type === '*/*' || type === 'application/*'
  })
}
