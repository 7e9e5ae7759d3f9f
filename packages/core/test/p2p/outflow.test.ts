import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { test } from 'node:test'
import { outflowOf, takenBetween } from '../../src/p2p/outflow.ts'
import { startTls } from '../../src/p2p/tls-stream.ts'

const KEY = Buffer.alloc(32, 1)
/** More than the operating system keeps for a connection on loopback. */
const BYTES = 64 * 1024 * 1024

for (const encrypted of [false, true]) {
  test(`what the other end of a full ${encrypted ? 'TLS' : 'TCP'} connection takes is seen, and what only lies here is not`, async () => {
    const arrived = Promise.withResolvers<Socket>()
    const server = createServer(
      (socket) => void (encrypted ? startTls(socket, 'server', KEY) : Promise.resolve(socket)).then(arrived.resolve)
    )
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
    await once(socket, 'connect')
    const mine = encrypted ? await startTls(socket, 'client', KEY) : socket
    const theirs = await arrived.promise
    theirs.pause()

    const empty = outflowOf(socket)
    assert.equal(empty.waiting, 0)
    mine.write(Buffer.alloc(BYTES))
    const full = outflowOf(socket)
    assert.ok(full.waiting > 0)
    assert.ok(full.taken > empty.taken)
    assert.equal(takenBetween(empty, full), 0)
    assert.equal(takenBetween(full, outflowOf(socket)), 0)

    const drained = once(mine, 'drain')
    theirs.resume()
    await drained
    const after = outflowOf(socket)
    assert.equal(after.waiting, 0)
    assert.ok(takenBetween(full, after) >= full.waiting)
    assert.equal(takenBetween(undefined, after), 0)
    for (const end of [mine, theirs, socket]) end.destroy()
    assert.equal(outflowOf(socket).waiting, 0)
    server.close()
    await once(server, 'close')
  })
}
