import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { connectedPair, streamPair } from './pair.ts'

test('where Noise alone encrypts, a message is handed to the system in one piece', async (t: TestContext) => {
  await using nodes = await connectedPair({ bulk: false })
  const { opener, holder } = await streamPair(nodes)
  const arrivals = new EventEmitter()
  holder.start({ onMessage: () => arrivals.emit('message'), onClose: () => undefined })
  opener.start({ onMessage: () => undefined, onClose: () => undefined })
  const parts = t.mock.method(Socket.prototype, '_write').mock
  const wholes = t.mock.method(Socket.prototype, '_writev' as '_write').mock
  for (let n = 0; n < 10; n++) {
    const arrived = once(arrivals, 'message')
    opener.send({ n })
    await arrived
  }
  assert.equal(parts.callCount(), 0)
  assert.ok(wholes.callCount() >= 10)
})
