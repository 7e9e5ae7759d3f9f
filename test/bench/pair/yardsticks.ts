/** What anyone would write to move a file between two hosts: a TLS socket, and an HTTP file server with undici. */
import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { createServer as createHttpServer } from 'node:http'
import { connect, createServer as createTlsServer } from 'node:tls'
import { request } from 'undici'
import { Sink } from './sink.ts'
import type { Receiver, Sender } from './subject.ts'

const READ_BYTES = 1024 * 1024
const TLS = { minVersion: 'TLSv1.3', ciphers: 'TLS_AES_128_GCM_SHA256' } as const
const PSK = Buffer.alloc(32, 7)

function portOf(server: { address(): unknown }): string {
  return String((server.address() as { port: number }).port)
}

export const sendTls: Sender = async (path) => {
  const server = createTlsServer({ ...TLS, pskCallback: () => PSK }, async (socket) => {
    await using file = await open(path)
    for (let at = 0; ; ) {
      const { bytesRead, buffer } = await file.read(Buffer.allocUnsafeSlow(READ_BYTES), 0, READ_BYTES, at)
      if (bytesRead === 0) break
      at += bytesRead
      if (!socket.write(buffer.subarray(0, bytesRead))) await once(socket, 'drain')
    }
    socket.end()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return portOf(server)
}

export const receiveTls: Receiver = async (port, path, hashes) => {
  const sink = await Sink.open(path, hashes)
  const socket = connect({
    ...TLS,
    host: '127.0.0.1',
    port: Number(port),
    pskCallback: () => ({ psk: PSK, identity: 'x' }),
    checkServerIdentity: () => undefined
  })
  socket.on('data', (chunk) => {
    const wait = sink.push(chunk)
    if (wait === undefined) return
    socket.pause()
    void wait.then(() => socket.resume())
  })
  await once(socket, 'end')
  await sink.end()
}

export const sendHttp: Sender = async (path) => {
  const server = createHttpServer((_, response) => createReadStream(path).pipe(response))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return portOf(server)
}

export const receiveHttp: Receiver = async (port, path, hashes) => {
  const sink = await Sink.open(path, hashes)
  const { body } = await request(`http://127.0.0.1:${port}/`)
  for await (const chunk of body) await sink.push(chunk)
  await sink.end()
}
