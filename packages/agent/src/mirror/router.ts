import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { OCTETS } from '@layerswarm/core/image/manifest.ts'
import { scopeOf } from '@layerswarm/core/image/reference.ts'
import type { PushedContent, RegistryClient, RegistryUploads } from '../ports.ts'
import { acceptBlob } from './accept-blob.ts'
import { acceptManifest } from './accept-manifest.ts'
import { errorReply, type Subject } from './error-reply.ts'
import type { Exchange } from './exchange.ts'
import { atRegistry } from './find-content.ts'
import { Outcome, type OutcomeDeps } from './outcome.ts'
import { parseTarget, type Repository, type Target } from './request-target.ts'
import { namesSelf, type OwnAddress } from './self.ts'
import { contentHeaders, type ServeDeps, serveBlob } from './serve-blob.ts'
import { serveDocument } from './serve-document.ts'
import { serveManifest } from './serve-manifest.ts'
import type { UploadSessions } from './upload-sessions.ts'

export interface PushParts {
  readonly uploads: Pick<RegistryUploads, 'manifest'>
  readonly sessions: UploadSessions
  readonly pushed: PushedContent
}

export interface RouterDeps extends ServeDeps, OutcomeDeps {
  readonly registry: Pick<RegistryClient, 'allows' | 'document' | 'resolve'>
  /** Where this mirror listens. */
  readonly own: () => OwnAddress | undefined
  /** Absent: this mirror takes no pushes. */
  readonly push?: PushParts | undefined
}

/** What agents call themselves at registries: two that took each other for one would ask in a circle. */
const OWN_KIND = /^layerswarm\//i
const READING = ['GET', 'HEAD']
const WRITING = ['POST', 'PUT', 'PATCH', 'DELETE']
const SUBJECTS: Partial<Record<Outcome['kind'], Subject>> = { blob: 'blob', manifest: 'manifest' }

/** Answers one request, whatever it is, and tells what became of it. Never throws. */
export async function answer(deps: RouterDeps, exchange: Exchange): Promise<void> {
  const outcome = new Outcome(deps)
  try {
    await dispatch(deps, exchange, outcome)
    outcome.status = exchange.status
  } catch (error) {
    await fail(exchange, outcome, error)
  }
  outcome.tell(exchange.method)
}

async function dispatch(deps: RouterDeps, exchange: Exchange, outcome: Outcome): Promise<void> {
  const target = parseTarget(exchange.url)
  if (target.type === 'unknown') throw new LayerswarmError('PATH_UNKNOWN')
  const writing = WRITING.includes(exchange.method)
  if (!READING.includes(exchange.method) && (!writing || deps.push === undefined)) {
    exchange.onRefusal.Allow = READING.join(', ')
    throw new LayerswarmError(writing ? 'PUSH_OFF' : 'METHOD_UNSUPPORTED', { detail: exchange.method })
  }
  outcome.kind = target.type
  if (target.type === 'upload' || writing) return await write(deps, exchange, target, outcome)
  if (target.type === 'version') {
    return await exchange.send(200, { 'Content-Type': 'application/json', 'Content-Length': 2 }, '{}')
  }
  admit(deps, exchange, target, outcome)
  switch (target.type) {
    case 'blob':
      outcome.digest = target.digest
      if (await looksBeforePush(deps, exchange, target, outcome)) return
      return await serveBlob(deps, exchange, target, outcome)
    case 'manifest':
      if ('tag' in target.reference) outcome.tag = target.reference.tag
      else outcome.digest = target.reference.digest
      if (await looksBeforePush(deps, exchange, target, outcome)) return
      return await serveManifest(deps, exchange, target, outcome)
    default:
      return await serveDocument(deps, exchange, target, outcome)
  }
}

/** Everything of the push API. */
async function write(deps: RouterDeps, exchange: Exchange, target: Exclude<Target, { type: 'unknown' }>, outcome: Outcome): Promise<void> {
  const { push } = deps
  if (push === undefined) throw new LayerswarmError('PATH_UNKNOWN')
  // Browsers say on whose behalf they write, and nothing else that pushes does: a web page would use this host's credentials.
  if (exchange.header('origin') !== undefined) throw new LayerswarmError('ORIGIN_NOT_ALLOWED', { detail: 'no page may push' })
  // Who forgets the registry means this host, and must not publish to the world what was meant for here.
  if ('byDefault' in target && target.byDefault) throw new LayerswarmError('PUSH_UNNAMED', { detail: target.written })
  if (target.type === 'upload') {
    admit(deps, exchange, target, outcome)
    return await acceptBlob(push, exchange, target, outcome)
  }
  if (target.type !== 'manifest' || exchange.method !== 'PUT') {
    exchange.onRefusal.Allow = [...READING, ...(target.type === 'manifest' ? ['PUT'] : [])].join(', ')
    throw new LayerswarmError('METHOD_UNSUPPORTED', { detail: exchange.method })
  }
  admit(deps, exchange, target, outcome)
  if ('tag' in target.reference) outcome.tag = target.reference.tag
  await acceptManifest(push, exchange, target, outcome)
}

/**
 * A client that is about to push asks what it need not send, and leaves that out: only the registry knows. containerd,
 * which names the registry by `ns`, does so only when it pulls. @returns whether it is answered
 */
async function looksBeforePush(
  { push, registry, images, clock }: RouterDeps,
  exchange: Exchange,
  target: Extract<Target, { type: 'blob' | 'manifest' }>,
  outcome: Outcome
): Promise<boolean> {
  if (push === undefined || !exchange.head || target.byNamespace) return false
  const { registry: host, repository } = target
  if (target.type === 'manifest' && 'tag' in target.reference) {
    images.moved({ registry: host, repository, tag: target.reference.tag })
    return false
  }
  const digest = target.type === 'blob' ? target.digest : 'digest' in target.reference ? target.reference.digest : undefined
  if (digest === undefined) return false
  const known = await atRegistry({ registry, clock }, { registry: host, repository, digest, kind: target.type }, exchange.signal)
  if (known === undefined) return false
  outcome.source = 'registry'
  const headers = contentHeaders(digest, target.type === 'blob' ? OCTETS : known.mediaType)
  await exchange.send(200, { ...headers, 'Content-Length': known.size, 'X-Layerswarm-Source': 'registry' })
  return true
}

/** The registry's name comes from the network: nothing is asked outside unless configuration lists it. */
function admit(deps: RouterDeps, exchange: Exchange, target: Extract<Target, Repository>, outcome: Outcome): void {
  const { registry } = target
  outcome.scope = scopeOf(target)
  if (namesSelf(registry, deps.own(), exchange.header('host'))) {
    throw new LayerswarmError('REGISTRY_NOT_ALLOWED', { detail: `${registry} is this mirror` })
  }
  if (OWN_KIND.test(exchange.header('user-agent') ?? '')) {
    throw new LayerswarmError('REGISTRY_NOT_ALLOWED', { detail: 'one mirror does not ask another' })
  }
  if (!deps.registry.allows(registry)) throw new LayerswarmError('REGISTRY_NOT_ALLOWED', { detail: registry })
  exchange.always('OCI-Namespace', registry)
}

async function fail(exchange: Exchange, outcome: Outcome, error: unknown): Promise<void> {
  outcome.error = error
  outcome.status = exchange.status
  if (exchange.signal.aborted) {
    outcome.result = 'aborted'
    return
  }
  if (exchange.begun) {
    outcome.result = 'cut'
    return exchange.cut()
  }
  const subject = WRITING.includes(exchange.method) ? 'push' : (SUBJECTS[outcome.kind] ?? 'repository')
  const { status, headers, body, result } = errorReply(error, subject, exchange.onRefusal)
  outcome.result = result
  outcome.status = status
  outcome.source = undefined
  await exchange.send(status, headers, body).catch(() => undefined)
}
