import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { scopeOf } from '@layerswarm/core/image/reference.ts'
import type { RegistryClient } from '../ports.ts'
import { errorReply, type Subject } from './error-reply.ts'
import type { Exchange } from './exchange.ts'
import { Outcome, type OutcomeDeps } from './outcome.ts'
import { parseTarget, type Repository, type Target } from './request-target.ts'
import { namesSelf, type OwnAddress } from './self.ts'
import { type ServeDeps, serveBlob } from './serve-blob.ts'
import { serveDocument } from './serve-document.ts'
import { serveManifest } from './serve-manifest.ts'

export interface RouterDeps extends ServeDeps, OutcomeDeps {
  readonly registry: Pick<RegistryClient, 'allows' | 'document'>
  /** Where this mirror listens. */
  readonly own: () => OwnAddress | undefined
}

/** What agents call themselves at registries: two that took each other for one would ask in a circle. */
const OWN_KIND = /^layerswarm\//i
const READING = 'GET, HEAD'
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
  if (exchange.method !== 'GET' && exchange.method !== 'HEAD') throw new LayerswarmError('METHOD_UNSUPPORTED', { detail: exchange.method })
  if (target.type === 'upload') throw new LayerswarmError('PATH_UNKNOWN')
  outcome.kind = target.type
  if (target.type === 'version') {
    return await exchange.send(200, { 'Content-Type': 'application/json', 'Content-Length': 2 }, '{}')
  }
  admit(deps, exchange, target, outcome)
  switch (target.type) {
    case 'blob':
      outcome.digest = target.digest
      return await serveBlob(deps, exchange, target, outcome)
    case 'manifest':
      if ('tag' in target.reference) outcome.tag = target.reference.tag
      else outcome.digest = target.reference.digest
      return await serveManifest(deps, exchange, target, outcome)
    default:
      return await serveDocument(deps, exchange, target, outcome)
  }
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
  const { status, headers, body, result } = errorReply(error, SUBJECTS[outcome.kind] ?? 'repository', {
    ...(error instanceof LayerswarmError && error.code === 'METHOD_UNSUPPORTED' ? { Allow: READING } : {}),
    ...(error instanceof LayerswarmError && error.code === 'RANGE_UNSATISFIABLE'
      ? { 'Content-Range': `bytes */${exchange.sizeOnRefusal}` }
      : {})
  })
  outcome.result = result
  outcome.status = status
  outcome.source = undefined
  await exchange.send(status, headers, body).catch(() => undefined)
}
