import type { Clock } from '@layerswarm/core/clock.ts'
import { within } from '@layerswarm/core/deadline.ts'
import { describeError, isLayerswarmError, LayerswarmError } from '@layerswarm/core/errors.ts'
import { type Descriptor, isManifestType, OCTETS } from '@layerswarm/core/image/manifest.ts'
import { scopeOf } from '@layerswarm/core/image/reference.ts'
import { type Logger, shortDigest } from '@layerswarm/core/log.ts'
import type { ContentIndex, Patient, RegistryClient, ResolvedTag, TagRef } from '../ports.ts'
import { Answers } from './answers.ts'

/** A tag is the only mutable name there is: long enough for a fleet's burst of the same pull, short enough for a push. */
const TAG_TTL_MS = 30_000
/** A registry that is back is asked again soon, yet not by each of an image's requests. */
const STALE_TTL_MS = 5_000
/** Below the 2 to 3 s in which a HEAD must be answered, since several clients wait for ever. */
const REGISTRY_HEAD_MS = 2_000
/** Tags of one host that are pulled within the TTL. */
const MAX_TAGS = 10_000

export interface TagResolverDeps {
  readonly registry: Pick<RegistryClient, 'resolve'>
  readonly index: Pick<ContentIndex, 'link' | 'setTag' | 'tag'>
  readonly clock: Clock
  readonly log: Logger
}

export interface TagResolverOptions {
  /** Whether this host's last knowledge of a tag is used while its registry cannot be asked. */
  readonly staleTags: 'off' | 'host'
}

/** What tags point to: the registry's word, never a peer's. */
export class TagResolver {
  readonly #deps: TagResolverDeps
  readonly #options: TagResolverOptions
  readonly #answers: Answers<ResolvedTag>

  constructor(deps: TagResolverDeps, options: TagResolverOptions) {
    this.#deps = deps
    this.#options = options
    this.#answers = new Answers(deps, {
      ttl: (answer) => (answer.staleSince === undefined ? TAG_TTL_MS : STALE_TTL_MS),
      max: MAX_TAGS
    })
  }

  /** See {@link ImageService.resolve}. */
  async resolve(ref: TagRef, options: Patient = {}): Promise<ResolvedTag> {
    return await this.#answers.get(
      `${scopeOf(ref)}:${ref.tag}`,
      (signal) => this.#ask(ref, options.waitMs ?? REGISTRY_HEAD_MS, signal),
      options
    )
  }

  /** See {@link ImageService.moved}. */
  moved(ref: TagRef): void {
    this.#answers.forget(`${scopeOf(ref)}:${ref.tag}`)
  }

  async #ask(ref: TagRef, ms: number, signal: AbortSignal): Promise<ResolvedTag> {
    const { registry, clock } = this.#deps
    const late = () => new LayerswarmError('REGISTRY_UNREACHABLE', { detail: `no answer within ${ms} ms` })
    try {
      const answer = await within({ clock, ms, late, signal }, (limit) => registry.resolve(ref, { signal: limit }))
      const descriptor = isManifestType(answer.mediaType) ? answer : { ...answer, mediaType: OCTETS }
      await this.#record(ref, descriptor)
      return { descriptor, origin: 'registry' }
    } catch (error) {
      if (isLayerswarmError(error, 'NOT_FOUND')) {
        throw new LayerswarmError('MANIFEST_UNKNOWN', { detail: `${scopeOf(ref)}:${ref.tag}`, cause: error })
      }
      return await this.#lastKnown(ref, error)
    }
  }

  async #record(ref: TagRef, descriptor: Descriptor): Promise<void> {
    const { index, log } = this.#deps
    try {
      await index.setTag(scopeOf(ref), ref.tag, descriptor)
      // A manifest of no known type is recorded once it has been read: until then it might pass for a blob.
      if (descriptor.mediaType !== OCTETS) await index.link(scopeOf(ref), [descriptor])
    } catch (err) {
      log.warn({ err, scope: scopeOf(ref) }, 'could not record a tag')
    }
  }

  async #lastKnown(ref: TagRef, error: unknown): Promise<ResolvedTag> {
    const { index, log } = this.#deps
    const unreachable = isLayerswarmError(error, 'REGISTRY_UNREACHABLE', 'REGISTRY_FAILED', 'REGISTRY_BUSY')
    const known = unreachable && this.#options.staleTags === 'host' ? await index.tag(scopeOf(ref), ref.tag) : undefined
    if (known === undefined) throw error
    log.warn(
      { scope: scopeOf(ref), tag: ref.tag, digest: shortDigest(known.descriptor.digest), reason: describeError(error) },
      'tag served as last known here'
    )
    return { descriptor: known.descriptor, origin: 'local', staleSince: known.at }
  }
}
