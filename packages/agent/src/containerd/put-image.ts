import { randomUUID } from 'node:crypto'
import type { Clock } from '@layerswarm/core/clock.ts'
import { within } from '@layerswarm/core/deadline.ts'
import { isLayerswarmError, LayerswarmError } from '@layerswarm/core/errors.ts'
import type { Manifest } from '@layerswarm/core/image/manifest.ts'
import type { Abortable, RuntimeContent, RuntimeImage } from '../ports.ts'
import { type CallScope, ContainerdClient, failure, isAlreadyThere, type WriteReply, type WriteRequest } from './client.ts'

/** A pull that was killed leaves its content to containerd's collector after this long, as with `ctr`. */
const LEASE_MS = 24 * 3600 * 1000

/** An answer to a part of a blob, a few MiB at most, from a disk that others keep busy. */
const ANSWER_MS = 60_000
/** At its end containerd brings a blob to the disk, which on the slowest takes so many bytes a millisecond. */
const SLOWEST_DISK = 4_000

/**
 * Makes an image known to containerd through its API, so that it knows what holds what; nothing is unpacked.
 * @returns what it lacked
 * @throws {LayerswarmError} CONTAINERD_FAILED, what reading throws, the signal's reason
 */
export async function putImage(
  socket: string,
  { namespace, name, root, content }: RuntimeImage,
  { clock, ...options }: Abortable & { readonly clock: Clock }
): Promise<{ blobs: number; bytes: number }> {
  using client = new ContainerdClient(socket)
  const lease = `layerswarm-${randomUUID()}`
  const scope = { namespace, lease }
  const expires = new Date(Date.now() + LEASE_MS).toISOString()
  await client.createLease(lease, { 'containerd.io/gc.expire': expires }, { namespace }, options)
  try {
    const given = { blobs: 0, bytes: 0 }
    const digests = new Set(content.map(({ digest }) => digest))
    for (const one of content) {
      const labels = one.manifest === undefined ? {} : labelsOf(one.manifest, digests)
      if (await give(client, one, labels, { ...options, scope, clock })) {
        given.blobs++
        given.bytes += one.size
      } else if (one.manifest !== undefined) await client.labelContent(one.digest, labels, scope, options)
    }
    const target = { media_type: root.mediaType, digest: root.digest, size: root.size }
    const record = { name, labels: {}, target }
    await client.createImage(record, scope, options).catch(async (error: unknown) => {
      if (!isAlreadyThere(error)) throw error
      await client.updateImage(record, scope, options)
    })
    return given
  } finally {
    // What cannot be deleted now expires.
    await client.deleteLease(lease, { namespace }).catch(() => undefined)
  }
}

/** What makes containerd's collector keep a manifest's children with it, as far as they are given too. */
function labelsOf({ config, layers, manifests }: Manifest, digests: ReadonlySet<string>): Record<string, string> {
  const labels = [
    ...(config === undefined ? [] : [['config', config.digest] as const]),
    ...layers.map(({ digest }, at) => [`l.${at}`, digest] as const),
    ...manifests.map(({ digest }, at) => [`m.${at}`, digest] as const)
  ]
  return Object.fromEntries(
    labels.filter(([, digest]) => digests.has(digest)).map(([label, digest]) => [`containerd.io/gc.ref.content.${label}`, digest])
  )
}

/** @returns whether containerd lacked it. @throws {LayerswarmError} CONTAINERD_FAILED, what reading throws, the signal's reason */
async function give(
  client: ContainerdClient,
  { digest, size, read }: RuntimeContent,
  labels: Readonly<Record<string, string>>,
  { scope, clock, signal }: Abortable & { readonly scope: Required<CallScope>; readonly clock: Clock }
): Promise<boolean> {
  signal?.throwIfAborted()
  const stream = client.write(scope)
  const cancel = (): void => stream.cancel()
  signal?.addEventListener('abort', cancel, { once: true })
  const replies: AsyncIterator<WriteReply> = stream[Symbol.asyncIterator]()
  const ask = async (request: WriteRequest, ms = ANSWER_MS): Promise<WriteReply> => {
    const late = () => new LayerswarmError('CONTAINERD_FAILED', { detail: `it has given no answer for ${Math.round(ms / 1000)} s` })
    stream.write(request)
    const { value, done } = await within({ clock, ms, late, signal }, () => replies.next()).catch((error: unknown) => {
      signal?.throwIfAborted()
      throw isLayerswarmError(error) ? error : failure(error)
    })
    if (done === true) throw new LayerswarmError('CONTAINERD_FAILED', { detail: 'it ended a write' })
    return value
  }
  try {
    // Its own: a name that another put writes under, of an image with the same layer, is locked.
    const ref = `${scope.lease}-${digest}`
    const { offset } = await ask({ action: 'STAT', ref, total: size, expected: digest })
    // All of it where another namespace has it: then there is nothing to send.
    if (offset !== size) {
      let at = 0
      for await (const data of read(signal === undefined ? {} : { signal })) {
        await ask({ action: 'WRITE', offset: at, data })
        at += data.byteLength
      }
    }
    await ask({ action: 'COMMIT', offset: size, total: size, expected: digest, labels }, ANSWER_MS + size / SLOWEST_DISK)
    return offset !== size
  } catch (error) {
    if (isAlreadyThere(error)) return false
    throw error
  } finally {
    signal?.removeEventListener('abort', cancel)
    stream.cancel()
  }
}
