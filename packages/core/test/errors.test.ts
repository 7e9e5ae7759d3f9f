import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type LookupFunction } from 'node:net'
import { test } from 'node:test'
import { describeError, LayerswarmError } from '../src/errors.ts'

test('a failure is told with what caused it', () => {
  const error = new LayerswarmError('STORE_FAILED', { detail: '/data', cause: new Error('EIO') })
  assert.equal(describeError(error), 'the store cannot be read or written: /data (EIO)')
  assert.equal(describeError('no error at all'), 'no error at all')
})

test('that nobody answers at any address of a name is told of each', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  const addresses = ['127.0.0.1', '127.0.0.2']
  const lookup: LookupFunction = (_host, _options, found) =>
    found(
      null,
      addresses.map((address) => ({ address, family: 4 }))
    )
  const [error] = await once(connect({ host: 'registry.test', port, lookup, autoSelectFamily: true }), 'error')
  assert.equal(describeError(error), addresses.map((address) => `connect ECONNREFUSED ${address}:${port}`).join(', '))
})
