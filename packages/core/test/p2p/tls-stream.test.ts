import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { test } from 'node:test'
import { getCACertificates, setDefaultCACertificates, TLSSocket } from 'node:tls'
import { TestAuthority } from '@layerswarm/testkit/test-authority.ts'
import { startTls } from '../../src/p2p/tls-stream.ts'

const KEY = Buffer.alloc(32, 1)

/** A server on loopback that does `work` with the one connection that comes, and a socket connected to it. */
async function connected(work: (socket: Socket) => void): Promise<{ server: Server; socket: Socket }> {
  const server = createServer((socket) => work(socket.on('error', () => undefined)))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  await once(socket, 'connect')
  return { server, socket }
}

test('both ends go on in TLS where they have the same key, and not where they have not', async () => {
  for (const same of [true, false]) {
    const theirs = Promise.withResolvers<TLSSocket>()
    const { server, socket } = await connected((accepted) =>
      startTls(accepted, 'server', same ? KEY : Buffer.alloc(32, 2)).then(theirs.resolve, theirs.reject)
    )
    theirs.promise.catch(() => undefined)
    const mine = startTls(socket, 'client', KEY)
    if (same) {
      const ends = [await mine, await theirs.promise]
      ends[0]?.end('hello')
      assert.equal(String((await once(ends[1] as TLSSocket, 'data'))[0]), 'hello')
      for (const end of ends) end.destroy()
    } else {
      await assert.rejects(mine)
      await assert.rejects(theirs.promise)
    }
    server.close()
    await once(server, 'close')
  }
})

test('a certificate is no proof, whoever vouches for it: it is the key that counts', async () => {
  await using authority = await TestAuthority.create()
  const identity = await authority.issue('127.0.0.1')
  const before = getCACertificates('default')
  setDefaultCACertificates([authority.cert])
  try {
    // Stands between two hosts, and has no key.
    const { server, socket } = await connected((accepted) => new TLSSocket(accepted, { isServer: true, ...identity }).on('error', () => {}))
    await assert.rejects(startTls(socket, 'client', KEY), /without the key/)
    server.close()
    await once(server, 'close')
  } finally {
    setDefaultCACertificates(before)
  }
})
