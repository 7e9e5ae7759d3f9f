import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { CountingClient } from '../harness/counting-client.ts'

const SIZE = 3_000_000

async function serving(answer: http.RequestListener, port = 0) {
  const server = http.createServer(answer).listen(port, '127.0.0.1')
  await once(server, 'listening')
  let connections = 0
  server.on('connection', () => connections++)
  const end = async () => {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  }
  return { port: (server.address() as AddressInfo).port, connections: () => connections, end }
}

const whole: http.RequestListener = (_, response) => response.setHeader('content-length', SIZE).end(Buffer.alloc(SIZE))
const get = async (client: CountingClient, port: number) =>
  await client.get({ host: '127.0.0.1', port, path: '/', headers: {} }, () => undefined)

test('bodies are counted over one connection, and over a new one after the server closed it', async () => {
  const client = new CountingClient()
  const first = await serving(whole)
  for (let i = 0; i < 2; i++) assert.equal((await get(client, first.port)).bytes, SIZE)
  assert.equal(first.connections(), 1)
  await first.end()
  const second = await serving(whole, first.port)
  assert.deepEqual(await get(client, second.port).then(({ status, bytes }) => [status, bytes]), [200, SIZE])
  await second.end()
})

test('an answer that breaks off, or does not say its length, is an error', async () => {
  const client = new CountingClient()
  const broken = await serving((_, response) => {
    response.setHeader('content-length', SIZE).write(Buffer.alloc(1000), () => response.destroy())
  })
  await assert.rejects(get(client, broken.port), /closed within the answer/)
  await broken.end()
  const endless = await serving((_, response) => {
    response.write('a')
    response.end('b')
  })
  await assert.rejects(get(client, endless.port), /does not say its length/)
  await endless.end()
})
