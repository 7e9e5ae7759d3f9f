/** The client process of a host: runs in its network namespace and does what it is told over IPC. */
import { createHash } from 'node:crypto'
import http from 'node:http'
import net from 'node:net'
import { buildImage } from '@layerswarm/testkit/oci-image.ts'
import { pushImage } from '@layerswarm/testkit/push-image.ts'
import { CountingClient } from './counting-client.ts'
import type { HostCommand, HostReply, HttpRequest, HttpResult, PublishRequest, TcpRequest, TcpResult } from './host-protocol.ts'
import { describeImage, type PublishedImage } from './published-image.ts'

const PROGRESS_BYTES = 256 * 1024

interface Running {
  resume(): void
  abort(): void
}

const running = new Map<number, Running>()
const agent = new http.Agent({ keepAlive: true })
const counting = new CountingClient()

process.on('message', (message: HostCommand) => {
  switch (message.kind) {
    case 'resume':
      return running.get(message.id)?.resume()
    case 'abort':
      return running.get(message.id)?.abort()
    case 'http':
      return void answer(message.id, async (progress) => {
        const result = message.keep === 'count' ? await doCount(message.id, message) : await doHttp(message.id, message, progress)
        return { type: 'http', result }
      })
    case 'tcp':
      return void answer(message.id, async () => ({ type: 'tcp', result: await doTcp(message) }))
    case 'publish':
      return void answer(message.id, async () => ({ type: 'publish', result: await publish(message) }))
  }
})
process.on('disconnect', () => process.exit(0))

type Result = { type: 'http'; result: HttpResult } | { type: 'tcp'; result: TcpResult } | { type: 'publish'; result: PublishedImage }

async function answer(id: number, work: (progress: (bytes: number) => void) => Promise<Result>): Promise<void> {
  let bytes = 0
  const progress = (total: number): void => {
    bytes = total
    send({ id, type: 'progress', bytes })
  }
  try {
    send({ id, ...(await work(progress)) })
  } catch (error) {
    send({ id, type: 'error', message: String(error), bytes })
  } finally {
    running.delete(id)
  }
}

function send(reply: HostReply): void {
  process.send?.(reply)
}

async function doHttp(id: number, order: HttpRequest, progress: (bytes: number) => void): Promise<HttpResult> {
  const began = performance.now()
  const { host, port, method, path, headers } = order
  const response = await exchange(http.request({ host, port, method, path, headers, agent }), id)
  const firstByteMs = performance.now() - began
  running.set(id, { resume: () => response.resume(), abort: () => response.destroy() })
  const hash = createHash('sha256')
  const kept: Buffer[] = []
  let bytes = 0
  let reported = 0
  let paused = false
  response.on('data', (chunk: Buffer) => {
    hash.update(chunk)
    bytes += chunk.length
    if (order.keep === 'text') kept.push(chunk)
    if (bytes - reported >= PROGRESS_BYTES) {
      reported = bytes
      progress(bytes)
    }
    if (order.pauseAt !== undefined && !paused && bytes >= order.pauseAt) {
      paused = true
      response.pause()
      progress(bytes)
    }
  })
  await new Promise<void>((resolve, reject) => {
    response.on('end', resolve)
    response.on('error', reject)
    response.on('close', () => reject(new Error(`closed after ${bytes} bytes`)))
  }).finally(() => progress(bytes))
  return {
    status: response.statusCode ?? 0,
    headers: flatten(response.headers),
    text: Buffer.concat(kept).toString(),
    digest: `sha256:${hash.digest('hex')}`,
    bytes,
    firstByteMs,
    seconds: (performance.now() - began) / 1000
  }
}

async function doCount(id: number, order: HttpRequest): Promise<HttpResult> {
  const began = performance.now()
  const body = await counting.get(order, (control) => running.set(id, control))
  return { ...body, text: '', digest: '', seconds: (performance.now() - began) / 1000 }
}

function exchange(request: http.ClientRequest, id: number): Promise<http.IncomingMessage> {
  running.set(id, { resume: () => {}, abort: () => request.destroy(new Error('aborted')) })
  return new Promise((resolve, reject) => {
    request.on('response', resolve)
    request.on('error', reject)
    request.end()
  })
}

function flatten(headers: http.IncomingHttpHeaders): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]))
}

function doTcp(order: TcpRequest): Promise<TcpResult> {
  return new Promise((resolve, reject) => {
    const received: Buffer[] = []
    const socket = net.connect(order.port, order.host)
    const finish = (closedBy: 'them' | 'us'): void => {
      socket.destroy()
      resolve({ received: Buffer.concat(received).toString('base64'), closedBy })
    }
    socket.setTimeout(order.closeAfterMs, () => finish('us'))
    socket.on('connect', () => socket.write(Buffer.from(order.send, 'base64')))
    socket.on('data', (chunk) => received.push(chunk))
    socket.on('end', () => finish('them'))
    socket.on('error', (error: NodeJS.ErrnoException) => (error.code === 'ECONNREFUSED' ? reject(error) : finish('them')))
  })
}

async function publish(order: PublishRequest): Promise<PublishedImage> {
  const image = await buildImage(order.spec, order.dir)
  await pushImage(image, order.registryUrl, order.repository, order.tag)
  return describeImage(image)
}
