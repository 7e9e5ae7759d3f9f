import type { Clock } from '@layerswarm/core/clock.ts'
import { within } from '@layerswarm/core/deadline.ts'
import { isLayerswarmError, LayerswarmError } from '@layerswarm/core/errors.ts'
import { type Descriptor, isManifestType, OCTETS } from '@layerswarm/core/image/manifest.ts'
import { scopeOf } from '@layerswarm/core/image/reference.ts'
import type { Logger } from '@layerswarm/core/log.ts'
import type { ContentIndex, ContentRef, ContentService, FoundContent, Patient, RegistryClient } from '../ports.ts'
import { Answers } from './answers.ts'

/** The tracker answers within a round trip; a HEAD's whole budget is 2.5 s, and the registry's part of it is larger. */
const FLEET_MS = 500
/** See FLEET_MS. */
const REGISTRY_HEAD_MS = 1_900
/** Long enough for the HEAD, the GETs and the ranges of one pull. */
const FOUND_TTL_MS = 30_000
/** Digests that are asked for, without a link here, within the TTL. */
const MAX_FOUND = 10_000

export interface AccessDeps {
  readonly registry: Pick<RegistryClient, 'resolve'>
  readonly index: Pick<ContentIndex, 'link' | 'linked' | 'links'>
  readonly content: Pick<ContentService, 'lookup'>
  readonly clock: Clock
  readonly log: Logger
}

/**
 * Which repository may see which content. To know a digest is not enough: it must have been reached through a manifest
 * of the repository here, or elsewhere in the fleet, or be there at the registry.
 */
export class Access {
  readonly #deps: AccessDeps
  readonly #answers: Answers<FoundContent>

  constructor(deps: AccessDeps) {
    this.#deps = deps
    this.#answers = new Answers(deps, { ttl: () => FOUND_TTL_MS, max: MAX_FOUND })
  }

  /** See {@link ImageService.find}. */
  async find(ref: ContentRef, options: Patient = {}): Promise<FoundContent> {
    const linked = await this.#linked(ref)
    if (linked !== undefined) return this.#checked(ref, { ref, descriptor: linked, origin: 'local' })
    const found = await this.#answers.get(
      `${ref.kind} ${scopeOf(ref)}@${ref.digest}`,
      async (signal) => (await this.#inFleet(ref, signal)) ?? (await this.#atRegistry(ref, options.waitMs ?? REGISTRY_HEAD_MS, signal)),
      options
    )
    return this.#checked(ref, found)
  }

  /** Without its records this host still serves: the registry says what belongs where. */
  async #linked(ref: ContentRef): Promise<Descriptor | undefined> {
    try {
      return await this.#deps.index.linked(scopeOf(ref), ref.digest)
    } catch (err) {
      this.#deps.log.warn({ err, scope: scopeOf(ref) }, 'could not read where content belongs')
      return undefined
    }
  }

  /** A manifest given out as a blob would be taken for an opaque one, and a layer is no manifest. */
  #checked(ref: ContentRef, found: FoundContent): FoundContent {
    const { mediaType } = found.descriptor
    const wrongKind = ref.kind === 'blob' ? isManifestType(mediaType) : !isManifestType(mediaType) && mediaType !== OCTETS
    if (wrongKind) throw unknown(ref)
    return found
  }

  async #inFleet(ref: ContentRef, signal: AbortSignal): Promise<FoundContent | undefined> {
    const { clock, content, log } = this.#deps
    const late = () => new LayerswarmError('TRACKER_UNREACHABLE', { detail: `no answer within ${FLEET_MS} ms` })
    try {
      const known = await within({ clock, ms: FLEET_MS, late, signal }, (limit) =>
        content.lookup(scopeOf(ref), ref.digest, { signal: limit })
      )
      if (known === undefined) return undefined
      return { ref, descriptor: { digest: ref.digest, size: known.size, mediaType: known.mediaType ?? OCTETS }, origin: 'peer' }
    } catch (err) {
      signal.throwIfAborted()
      log.debug({ err, scope: scopeOf(ref) }, 'the fleet could not be asked for content')
      return undefined
    }
  }

  async #atRegistry(ref: ContentRef, ms: number, signal: AbortSignal): Promise<FoundContent> {
    const { clock, registry, index, log } = this.#deps
    if (ref.kind === 'blob' && (await this.#isManifestElsewhere(ref))) throw unknown(ref)
    const late = () => new LayerswarmError('REGISTRY_UNREACHABLE', { detail: `no answer within ${ms} ms` })
    try {
      const answer = await within({ clock, ms, late, signal }, (limit) => registry.resolve(ref, { signal: limit }))
      const mediaType = ref.kind === 'manifest' && !isManifestType(answer.mediaType) ? OCTETS : answer.mediaType
      const descriptor: Descriptor = { digest: ref.digest, size: answer.size, mediaType }
      // A manifest of no known type is recorded once it has been read: until then it might pass for a blob.
      if (ref.kind === 'blob' || mediaType !== OCTETS) {
        await index
          .link(scopeOf(ref), [descriptor])
          .catch((err: unknown) => log.warn({ err, scope: scopeOf(ref) }, 'could not record where content belongs'))
      }
      return { ref, descriptor, origin: 'registry' }
    } catch (error) {
      throw isLayerswarmError(error, 'NOT_FOUND') ? unknown(ref, error) : error
    }
  }

  async #isManifestElsewhere(ref: ContentRef): Promise<boolean> {
    const links = await this.#deps.index.links(ref.digest)
    return links.some(({ descriptor }) => isManifestType(descriptor.mediaType))
  }
}

function unknown(ref: ContentRef, cause?: unknown): LayerswarmError {
  const code = ref.kind === 'blob' ? 'BLOB_UNKNOWN' : 'MANIFEST_UNKNOWN'
  return new LayerswarmError(code, { detail: `${scopeOf(ref)}@${ref.digest}`, cause })
}
