import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { test } from 'node:test'
import { Exchange } from '../../src/mirror/exchange.ts'

test('a write that a reset fails tells that the client went away, before the connection is seen to close', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  try {
    await once(server, 'listening')
    const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
    client.write('GET /v2/ HTTP/1.1\r\nHost: mirror\r\n\r\n')
    const [request, response] = (await once(server, 'request')) as [IncomingMessage, ServerResponse]
    const exchange = new Exchange(request, response, '/v2/')
    exchange.start(200, { 'Content-Length': 3_000 })
    await exchange.write(Buffer.alloc(1_000))
    let closed = false
    response.once('close', () => {
      closed = true
    })
    // Within one turn: the server cannot have seen the reset when it writes.
    client.resetAndDestroy()
    await assert.rejects(exchange.write(Buffer.alloc(1_000)), { name: 'AbortError' })
    assert.equal(closed, false)
    assert.equal(exchange.signal.aborted, true)
  } finally {
    server.close()
    server.closeAllConnections()
  }
})
