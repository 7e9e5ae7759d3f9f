/** From a request line to what is asked for. Pure; every hostile path ends here. */
import { type Digest, isDigest } from '@layerswarm/core/digest.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { DEFAULT_REGISTRY, fullRepository, isRegistryHost, isRepositoryName, isTag } from '@layerswarm/core/image/reference.ts'

export interface Repository {
  /** In lower case, with its port: `registry.example.com:5000`. */
  readonly registry: string
  readonly repository: string
  /** The client named the registry by `ns`: it is containerd, which asks the registry itself for what it gets no answer to. */
  readonly byNamespace: boolean
  /** The registry is the one that is meant where none is named. */
  readonly byDefault: boolean
  /** The repository as the path names it: what links back to this mirror must use. */
  readonly written: string
}

export type Target =
  | { readonly type: 'version' }
  | ({ readonly type: 'manifest'; readonly reference: { readonly tag: string } | { readonly digest: Digest } } & Repository)
  | ({ readonly type: 'blob'; readonly digest: Digest } & Repository)
  | ({ readonly type: 'tags'; readonly query: URLSearchParams } & Repository)
  | ({ readonly type: 'referrers'; readonly digest: Digest; readonly query: URLSearchParams } & Repository)
  /** A place for a blob to be pushed to: a new one, or one that was given before. */
  | ({ readonly type: 'upload'; readonly id: string | undefined; readonly query: URLSearchParams } & Repository)
  | { readonly type: 'unknown' }

const UNKNOWN: Target = { type: 'unknown' }
/** Longest path that can mean anything: a repository name, a registry, a sha512 digest, and the words between. */
const MAX_PATH = 1024

/** `[kind, what follows it]` of the last components, matched from the right since a name may contain these words. */
function splitPath(parts: readonly string[]): { name: readonly string[]; kind: string; last: string } | undefined {
  const kind = parts.at(-2)
  const last = parts.at(-1)
  if (kind === undefined || last === undefined) return undefined
  return { name: parts.slice(0, -2), kind, last }
}

/** The name and the id in the path of an upload, whose last slash some leave out. */
function splitUpload(parts: readonly string[]): { name: readonly string[]; id: string | undefined } | undefined {
  const [name, id] = parts.at(-1) === 'uploads' ? [parts.slice(0, -2), ''] : [parts.slice(0, -3), parts.at(-1)]
  if (parts[name.length] !== 'blobs' || parts[name.length + 1] !== 'uploads') return undefined
  return { name, id: id === '' ? undefined : id }
}

/**
 * Reads the target of a request, as it came over the wire.
 * @throws {LayerswarmError} NAME_INVALID, DIGEST_INVALID, NAMESPACE_INVALID
 */
export function parseTarget(url: string): Target {
  const mark = url.indexOf('?')
  const path = mark === -1 ? url : url.slice(0, mark)
  // The absolute form is how a proxy is asked, and this is none.
  if (!path.startsWith('/')) return UNKNOWN
  if (path === '/v2' || path === '/v2/') return { type: 'version' }
  if (!path.startsWith('/v2/')) return UNKNOWN
  if (path.length > MAX_PATH) throw new LayerswarmError('NAME_INVALID', { detail: `a path of ${path.length} characters` })

  const parts = path.slice('/v2/'.length).split('/').map(decode)
  const query = new URLSearchParams(mark === -1 ? '' : url.slice(mark + 1))
  const upload = splitUpload(parts)
  if (upload !== undefined) return { type: 'upload', id: upload.id, query, ...locate(upload.name, query) }
  const split = splitPath(parts)
  if (split === undefined) return UNKNOWN
  const { name, kind, last } = split
  switch (kind) {
    case 'manifests':
      return { type: 'manifest', reference: readReference(last), ...locate(name, query) }
    case 'blobs':
      return { type: 'blob', digest: readDigest(last), ...locate(name, query) }
    case 'referrers':
      return { type: 'referrers', digest: readDigest(last), query, ...locate(name, query) }
    case 'tags':
      return last === 'list' ? { type: 'tags', query, ...locate(name, query) } : UNKNOWN
    default:
      return UNKNOWN
  }
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    throw new LayerswarmError('NAME_INVALID', { detail: 'a broken percent-encoding' })
  }
}

function readDigest(text: string): Digest {
  if (!isDigest(text)) throw new LayerswarmError('DIGEST_INVALID', { detail: printable(text) })
  return text
}

/** What is neither a digest nor a tag names nothing, which is a miss and no bad request: the conformance suite asks for it. */
function readReference(text: string): { tag: string } | { digest: Digest } {
  if (isTag(text)) return { tag: text }
  if (text.includes(':')) return { digest: readDigest(text) }
  throw new LayerswarmError('MANIFEST_UNKNOWN', { detail: printable(text) })
}

function printable(text: string): string {
  return JSON.stringify(text.slice(0, 200)).slice(1, -1)
}

/** A repository that a query names as a path would. @throws {LayerswarmError} NAME_INVALID */
export function parseRepository(name: string, query: URLSearchParams): Repository {
  return locate(name.split('/'), query)
}

/**
 * Which registry is meant: the `ns` parameter, else a first component that looks like a host (for clients that send
 * no `ns`; a port is written `host_port`, as a repository has no colons), else docker.io.
 */
function locate(name: readonly string[], query: URLSearchParams): Repository {
  const written = name.join('/')
  if (!isRepositoryName(written)) throw new LayerswarmError('NAME_INVALID', { detail: printable(written) })
  const [namespace, ...more] = query.getAll('ns')
  if (namespace === '' || more.length > 0) throw new LayerswarmError('NAMESPACE_INVALID')
  if (namespace !== undefined) {
    const registry = namespace.toLowerCase()
    if (!isRegistryHost(registry)) throw new LayerswarmError('REGISTRY_NOT_ALLOWED', { detail: printable(namespace) })
    return { registry, repository: fullRepository(registry, written), byNamespace: true, byDefault: false, written }
  }
  const prefix = name.length > 1 ? hostInPath(name[0] ?? '') : undefined
  if (prefix !== undefined) {
    const repository = fullRepository(prefix, name.slice(1).join('/'))
    return { registry: prefix, repository, byNamespace: false, byDefault: false, written }
  }
  const repository = fullRepository(DEFAULT_REGISTRY, written)
  return { registry: DEFAULT_REGISTRY, repository, byNamespace: false, byDefault: true, written }
}

function hostInPath(component: string): string | undefined {
  const host = component.replace(/_(\d{1,5})$/, ':$1')
  const looksLikeHost = host !== component || component.includes('.') || component === 'localhost'
  return looksLikeHost ? host : undefined
}
