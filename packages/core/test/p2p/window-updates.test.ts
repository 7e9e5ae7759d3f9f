import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import type { Stream } from '@libp2p/interface'
import { multiaddrConnectionPair } from '@libp2p/utils'
import { yamux } from '@libp2p/yamux'
import { sparingUpdates } from '../../src/p2p/window-updates.ts'

const WINDOW = 1024 * 1024

/** A stream, how it is received, and what its receiver has sent back so far. */
async function pair(): Promise<{ stream: Stream; received: () => number; answers: () => number }> {
  const [near, far] = multiaddrConnectionPair()
  const muxers = [near, far].map((connection) =>
    sparingUpdates(
      yamux({ enableKeepAlive: false, streamOptions: { maxStreamWindowSize: WINDOW, maxReadBufferLength: 2 * WINDOW } })()
    ).createStreamMuxer(connection)
  )
  let received = 0
  muxers[1]?.addEventListener('stream', ({ detail }) => detail.addEventListener('message', ({ data }) => (received += data.byteLength)))
  const stream = await muxers[0]?.createStream()
  assert.ok(stream)
  let answers = 0
  near.addEventListener('message', () => answers++)
  return { stream, received: () => received, answers: () => answers }
}

async function arrived(received: () => number, bytes: number): Promise<void> {
  while (received() < bytes) await new Promise(setImmediate)
}

test('short messages are not answered one by one', async () => {
  const { stream, received, answers } = await pair()
  for (let sent = 1; sent <= 200; sent++) {
    stream.send(new Uint8Array(100))
    await arrived(received, sent * 100)
  }
  assert.ok(answers() <= 3, `${answers()} answers`)
})

test('a stream flows on for as long as it is read, with an answer for each half of a window', async () => {
  const { stream, received, answers } = await pair()
  const bytes = 16 * WINDOW
  for (let sent = 0; sent < bytes; sent += WINDOW / 4) {
    if (!stream.send(new Uint8Array(WINDOW / 4))) await once(stream, 'drain')
  }
  await arrived(received, bytes)
  assert.ok(answers() >= 16 && answers() <= 40, `${answers()} answers`)
})
