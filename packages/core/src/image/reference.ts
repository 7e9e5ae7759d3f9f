/** Names of images and their parts, by the grammar of the OCI distribution specification and of container tools. */
import { type Digest, isDigest } from '../digest.ts'
import { LayerswarmError } from '../errors.ts'

/** The registry that a name without one means. */
export const DEFAULT_REGISTRY = 'docker.io'
const DEFAULT_TAG = 'latest'
/** Longest repository name that registries take. */
const MAX_NAME = 255
/** Longest host name, a colon and a port. */
const MAX_HOST = 253 + 6

const NAME = /^[a-z0-9]+(?:(?:\.|__|_|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|__|_|-+)[a-z0-9]+)*)*$/
const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/
const HOST = /^(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?$/

/** An image as people write it, with the defaults filled in. */
export interface ImageReference {
  readonly registry: string
  readonly repository: string
  /** Absent only when there is a digest. */
  readonly tag: string | undefined
  readonly digest: Digest | undefined
}

export function isRepositoryName(text: string): boolean {
  return text.length <= MAX_NAME && NAME.test(text)
}

export function isTag(text: string): boolean {
  return TAG.test(text)
}

/** Whether `text` is `host`, `host:port` or the same with an IPv6 address in brackets, in lower case. */
export function isRegistryHost(text: string): boolean {
  return text.length <= MAX_HOST && HOST.test(text)
}

/** The repository as its registry calls it: Docker Hub keeps one-component names under `library/`. */
export function fullRepository(registry: string, repository: string): string {
  return registry === DEFAULT_REGISTRY && !repository.includes('/') ? `library/${repository}` : repository
}

/** The name under which facts about a repository's content are kept: `registry/repository`. */
export function scopeOf(ref: { readonly registry: string; readonly repository: string }): string {
  return `${ref.registry}/${ref.repository}`
}

/**
 * Reads `[registry/]repository[:tag][@digest]`. The first component is a registry when it has a dot or a colon or is
 * `localhost`; without one, docker.io is meant. Without tag and digest, `latest` is.
 * @throws {LayerswarmError} REFERENCE_INVALID, DIGEST_INVALID
 */
export function parseReference(text: string): ImageReference {
  const invalid = () => new LayerswarmError('REFERENCE_INVALID', { detail: text.slice(0, 300) })
  const at = text.indexOf('@')
  const named = at === -1 ? text : text.slice(0, at)
  const digest = at === -1 ? undefined : text.slice(at + 1)
  if (digest !== undefined && !isDigest(digest)) throw new LayerswarmError('DIGEST_INVALID', { detail: digest.slice(0, 200) })

  const slash = named.indexOf('/')
  const first = slash === -1 ? '' : named.slice(0, slash)
  const hasRegistry = first === 'localhost' || /[.:]/.test(first)
  const rest = hasRegistry ? named.slice(slash + 1) : named
  const colon = rest.lastIndexOf(':')
  const tag = colon === -1 ? undefined : rest.slice(colon + 1)
  const name = colon === -1 ? rest : rest.slice(0, colon)

  const written = hasRegistry ? first.toLowerCase() : DEFAULT_REGISTRY
  const registry = written === 'index.docker.io' ? DEFAULT_REGISTRY : written
  const repository = fullRepository(registry, name)
  if (!isRegistryHost(registry) || !isRepositoryName(repository)) throw invalid()
  if (tag !== undefined && !isTag(tag)) throw invalid()
  return { registry, repository, tag: tag ?? (digest === undefined ? DEFAULT_TAG : undefined), digest }
}

/** The full form, which {@link parseReference} reads back to the same. */
export function formatReference(ref: ImageReference): string {
  const tag = ref.tag === undefined ? '' : `:${ref.tag}`
  const digest = ref.digest === undefined ? '' : `@${ref.digest}`
  return `${scopeOf(ref)}${tag}${digest}`
}
