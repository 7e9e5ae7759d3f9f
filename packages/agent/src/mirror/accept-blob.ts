/** The push of blobs (OCI distribution specification, section Push), written through to the registry. */
import { type Digest, parseDigest } from '@layerswarm/core/digest.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import type { PushedContent } from '../ports.ts'
import { Arrival } from './arrival.ts'
import type { Exchange } from './exchange.ts'
import type { Outcome } from './outcome.ts'
import { parseRepository, type Target } from './request-target.ts'
import type { UploadSession, UploadSessions } from './upload-sessions.ts'

export interface AcceptBlobDeps {
  readonly sessions: UploadSessions
  readonly pushed: PushedContent
}

type UploadTarget = Extract<Target, { type: 'upload' }>

/** Answers every request for an upload. @throws {LayerswarmError} METHOD_UNSUPPORTED, UPLOAD_…, DIGEST_INVALID, REGISTRY_…, STORE_… */
export async function acceptBlob(deps: AcceptBlobDeps, exchange: Exchange, target: UploadTarget, outcome: Outcome): Promise<void> {
  outcome.result = 'accepted'
  if (target.id === undefined) {
    if (exchange.method !== 'POST') throw unsupported(exchange, 'POST')
    return await begin(deps, exchange, target, outcome)
  }
  const session = deps.sessions.find(target.id, target)
  switch (exchange.method) {
    case 'GET':
    case 'HEAD':
      // Asked by a client that lost its connection: what is under way of it must not move the upload after the answer.
      await session.alone(exchange, async () => undefined)
      return await exchange.send(204, standing(session, target))
    case 'PATCH':
      return await append(exchange, target, session, outcome)
    case 'PUT':
      return await finish(deps, exchange, target, session, outcome)
    case 'DELETE':
      await deps.sessions.cancel(session, 'its client gave it up')
      return await exchange.send(204, {})
    default:
      throw unsupported(exchange, 'GET, HEAD, PATCH, PUT, DELETE')
  }
}

async function begin(deps: AcceptBlobDeps, exchange: Exchange, target: UploadTarget, outcome: Outcome): Promise<void> {
  const mount = target.query.get('mount')
  const from = target.query.get('from')
  const source = mount === null || from === null ? undefined : parseRepository(from, target.query)
  const mounted =
    mount !== null && source?.registry === target.registry ? { digest: parseDigest(mount), from: source.repository } : undefined
  const session = await deps.sessions.open(target, { signal: exchange.signal, mount: mounted })
  if (session === undefined) {
    outcome.result = 'stored'
    return await exchange.send(201, created(target, mounted?.digest))
  }
  // Without a body it is the opening of an upload, whatever it will be.
  if (target.query.has('digest') && exchange.hasBody) {
    try {
      return await finish(deps, exchange, target, session, outcome)
    } catch (error) {
      // Its client was never told where it is.
      await deps.sessions.cancel(session, 'it was to be done in one request')
      throw error
    }
  }
  await exchange.send(202, { ...standing(session, target), 'Content-Length': 0 })
}

async function append(exchange: Exchange, target: UploadTarget, session: UploadSession, outcome: Outcome): Promise<void> {
  await session.alone(exchange, async (signal) => {
    checkPosition(exchange, target, session)
    await using arrival = arrivalOf(exchange, session, outcome)
    const size = endOf(exchange, session)
    if (await arrival.next({ signal })) await session.upload.append((from) => arrival.content(from), { signal, size })
  })
  await exchange.send(202, { ...standing(session, target), 'Content-Length': 0 })
}

async function finish(
  deps: AcceptBlobDeps,
  exchange: Exchange,
  target: UploadTarget,
  session: UploadSession,
  outcome: Outcome
): Promise<void> {
  const digest = parseDigest(target.query.get('digest') ?? '')
  outcome.digest = digest
  const { registry, repository } = target
  try {
    await session.alone(exchange, async (signal) => {
      const whole = await sendRest(exchange, target, session, { digest, signal, outcome })
      if (whole) await deps.pushed.blob({ registry, repository, digest, kind: 'blob' }, session.blob)
      session.complete()
    })
  } catch (error) {
    // Nothing of it is kept anywhere. After any other failure the client may go on.
    if (error instanceof LayerswarmError && error.code === 'UPLOAD_MISMATCH') await deps.sessions.cancel(session, 'its digest was wrong')
    throw error
  }
  await deps.sessions.done(session)
  outcome.result = 'stored'
  await exchange.send(201, created(target, digest))
}

/** @returns whether all of it is here, too, and proven: a registry that has it by now takes no more of it */
async function sendRest(
  exchange: Exchange,
  target: UploadTarget,
  session: UploadSession,
  { digest, signal, outcome }: { readonly digest: Digest; readonly signal: AbortSignal; readonly outcome: Outcome }
): Promise<boolean> {
  const { blob, upload } = session
  checkPosition(exchange, target, session)
  await using arrival = arrivalOf(exchange, session, outcome)
  const announced = endOf(exchange, session)
  if (announced === undefined && (await arrival.next({ signal }))) await upload.append((from) => arrival.content(from), { signal })
  const size = announced ?? blob.size
  let whole = false
  const prove = async (): Promise<void> => {
    whole = await blob.proves(digest, { signal })
    if (!whole) throw new LayerswarmError('UPLOAD_MISMATCH', { detail: digest })
  }
  if (blob.size === size) await prove()
  const proven = async function* (from: number): AsyncGenerator<Uint8Array> {
    let at = from
    for await (const chunk of arrival.content(from)) {
      at += chunk.byteLength
      // The registry gets the last of it only once the whole is right.
      if (at === size) await prove()
      yield chunk
    }
  }
  await upload.finish({ digest, size }, proven, { signal })
  return whole
}

function arrivalOf(exchange: Exchange, { blob }: UploadSession, outcome: Outcome): Arrival {
  return new Arrival(exchange.body(), blob, (bytes) => outcome.received(bytes))
}

/** Bytes that an upload has once the body has come; undefined where only its end tells. */
function endOf(exchange: Exchange, { blob }: UploadSession): number | undefined {
  return exchange.bodyLength === undefined ? undefined : blob.size + exchange.bodyLength
}

/** A part that says where it belongs must belong where the upload stands. */
function checkPosition(exchange: Exchange, target: UploadTarget, session: UploadSession): void {
  const range = exchange.header('content-range')
  if (range === undefined) return
  const [, start, last] = /^(?:bytes[ =])?(\d{1,15})-(\d{1,15})(?:\/.*)?$/.exec(range) ?? []
  const length = exchange.bodyLength
  const fits = Number(start) === session.blob.size && (length === undefined || Number(last) === Number(start) + length - 1)
  if (fits) return
  Object.assign(exchange.onRefusal, standing(session, target))
  throw new LayerswarmError('UPLOAD_RANGE', { detail: `it has ${session.blob.size} bytes` })
}

/** Where an upload stands, as every answer about it says. An empty one is told as `0-0`, like other registries do. */
function standing({ id, blob }: UploadSession, target: UploadTarget): Record<string, string> {
  return {
    Location: `/v2/${target.written}/blobs/uploads/${id}${namespace(target)}`,
    Range: `0-${Math.max(0, blob.size - 1)}`,
    'Docker-Upload-UUID': id
  }
}

function created(target: UploadTarget, digest: Digest | undefined): Record<string, string | number> {
  return {
    Location: `/v2/${target.written}/blobs/${digest}${namespace(target)}`,
    'Docker-Content-Digest': digest ?? '',
    'Content-Length': 0
  }
}

function namespace({ byNamespace, registry }: UploadTarget): string {
  return byNamespace ? `?ns=${encodeURIComponent(registry)}` : ''
}

function unsupported(exchange: Exchange, allowed: string): LayerswarmError {
  exchange.onRefusal.Allow = allowed
  return new LayerswarmError('METHOD_UNSUPPORTED', { detail: exchange.method })
}
