import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { fullRepository, isRepositoryName, isTag } from '@layerswarm/core/image/reference.ts'
import type { ContentRef, TagRef } from '../ports.ts'

export interface RegistryOptions {
  /** Plain HTTP, for the registry, its token server and its redirects. */
  readonly insecure: boolean
}

/** Where a registry answers. */
export interface Endpoint {
  /** As asked for. */
  readonly registry: string
  readonly base: URL
  readonly insecure: boolean
}

/** Docker Hub answers under another name than its images carry. */
const HUB_HOST = 'registry-1.docker.io'

export function endpointOf(registry: string, { insecure }: RegistryOptions): Endpoint {
  const host = registry === 'docker.io' ? HUB_HOST : registry
  return { registry, base: new URL(`${insecure ? 'http' : 'https'}://${host}`), insecure }
}

/** @throws {LayerswarmError} NAME_INVALID for what could name another path. */
export function repositoryPath(registry: string, repository: string): string {
  if (!isRepositoryName(repository)) throw new LayerswarmError('NAME_INVALID', { detail: repository.slice(0, 200) })
  return fullRepository(registry, repository)
}

/** The path of content below its repository. @throws {LayerswarmError} TAG_INVALID */
export function contentPath(ref: TagRef | ContentRef): string {
  if (!('tag' in ref)) return `${ref.kind}s/${ref.digest}`
  if (!isTag(ref.tag)) throw new LayerswarmError('TAG_INVALID', { detail: ref.tag.slice(0, 200) })
  return `manifests/${ref.tag}`
}
