/** The client process of a host: runs in its network namespace and does what it is told over IPC. */
import { createHash } from 'node:crypto'
import { createReadStream, statSync } from 'node:fs'
import http from 'node:http'
import net from 'node:net'
import { pipeline } from 'node:stream/promises'
import type { HostCommand, HostReply, HttpRequest, HttpResult, TcpRequest, TcpResult } from './host-protocol.ts'

const PROGRESS_BYTES = 256 * 1024

interface Running {
  resume(): void
  abort(): void
}

const running = new Map<number, Running>()
const agent = new http.Agent({ keepAlive: true })

process.on('message', (message: HostCommand) => {
  switch (message.kind) {
    case 'resume':
      return running.get(message.id)?.resume()
    case 'abort':
      return running.get(message.id)?.abort()
    case 'http':
      return void answer(message.id, async (progress) => ({ type: 'http', result: await doHttp(message.id, message, progress) }))
    case 'tcp':
      return void answer(message.id, async () => ({ type: 'tcp', result: await doTcp(message) }))
  }
})
process.on('disconnect', () => process.exit(0))

type Result = { type: 'http'; result: HttpResult } | { type: 'tcp'; result: TcpResult }

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
  const headers: Record<string, string> = { ...order.headers }
  if (order.bodyFile !== undefined) headers['content-length'] = String(statSync(order.bodyFile).size)
  const request = http.request({ host: order.host, port: order.port, method: order.method, path: order.path, headers, agent })
  const response = await exchange(request, order.bodyFile, id)
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

async function exchange(request: http.ClientRequest, bodyFile: string | undefined, id: number): Promise<http.IncomingMessage> {
  running.set(id, { resume: () => {}, abort: () => request.destroy(new Error('aborted')) })
  const response = new Promise<http.IncomingMessage>((resolve, reject) => {
    request.on('response', resolve)
    request.on('error', reject)
  })
  if (bodyFile === undefined) request.end()
  else await Promise.all([pipeline(createReadStream(bodyFile, { highWaterMark: 1024 * 1024 }), request), response])
  return response
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
