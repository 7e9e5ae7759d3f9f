import type { RequestKind } from './faults.ts'

/** What a request of the distribution API names. */
export interface Route {
  readonly kind: RequestKind
  readonly repository: string | undefined
  /** Digest, tag or upload id. */
  readonly reference: string | undefined
}

const KINDS: Readonly<Record<string, RequestKind>> = { manifests: 'manifest', blobs: 'blob', tags: 'tags', referrers: 'referrers' }

/** Reads a path. A repository may contain the words `blobs` and `manifests`, so it is matched from the right. */
export function routeOf(path: string): Route {
  if (path === '/v2' || path === '/v2/') return { kind: 'ping', repository: undefined, reference: undefined }
  const upload = /^\/v2\/(.+)\/blobs\/uploads\/([^/]*)$/.exec(path)
  if (upload !== null) return { kind: 'upload', repository: upload[1], reference: upload[2] === '' ? undefined : upload[2] }
  const content = /^\/v2\/(.+)\/(manifests|blobs|tags|referrers)\/([^/]+)$/.exec(path)
  if (content === null) return { kind: 'other', repository: undefined, reference: undefined }
  return { kind: KINDS[content[2] ?? ''] ?? 'other', repository: content[1], reference: content[3] }
}
