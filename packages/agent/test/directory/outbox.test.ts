import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { Digest } from '@layerswarm/core/digest.ts'
import type { LayerswarmError } from '@layerswarm/core/errors.ts'
import type { FramedStream } from '@layerswarm/core/p2p/framed-stream.ts'
import { type AgentMessage, agentMessage } from '@layerswarm/core/wire/directory-protocol.ts'
import { noteToMessages } from '../../src/directory/messages.ts'
import { Outbox } from '../../src/directory/outbox.ts'

function digestNamed(name: string): Digest {
  return `sha256:${createHash('sha256').update(name).digest('hex')}` as Digest
}

const blob = digestNamed('layer')

/** A stream that takes one message and then nothing until it is told to. */
class ReluctantStream {
  readonly sent: AgentMessage[] = []
  error: LayerswarmError | undefined
  readonly #waiting: (() => void)[] = []

  get open(): boolean {
    return this.error === undefined
  }

  send(message: object): boolean {
    this.sent.push(agentMessage.parse(message))
    return false
  }

  drained(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  abort(error: LayerswarmError): void {
    this.error = error
  }

  async drain(): Promise<void> {
    while (this.#waiting.length > 0) {
      for (const wake of this.#waiting.splice(0)) wake()
      await turn()
    }
  }
}

function outboxOf(stream: ReluctantStream): Outbox {
  return new Outbox(stream as unknown as FramedStream)
}

test('while the tracker is slow, reports of a blob become one and nothing of them is lost', async () => {
  const stream = new ReluctantStream()
  const outbox = outboxOf(stream)
  for (let i = 0; i < 4; i++) outbox.push({ t: 'report', blob, got: [i], spread: [i + 10], bytes: 100 })
  outbox.push({ t: 'report', blob: digestNamed('other'), got: [], spread: [], bytes: 1 })
  await stream.drain()
  assert.deepEqual(stream.sent, [
    { t: 'report', blob, got: [0], spread: [10], bytes: 100 },
    { t: 'report', blob, got: [1, 2, 3], spread: [11, 12, 13], bytes: 300 },
    { t: 'report', blob: digestNamed('other'), got: [], spread: [], bytes: 1 }
  ])
})

test('of a digest added and dropped the last word goes out', async () => {
  const stream = new ReluctantStream()
  const outbox = outboxOf(stream)
  const [a, b] = [digestNamed('a'), digestNamed('b')]
  outbox.push({ t: 'hold', full: true, add: [], drop: [] })
  outbox.push({ t: 'hold', full: false, add: [{ digest: a, size: 1 }], drop: [] })
  outbox.push({ t: 'hold', full: false, add: [{ digest: b, size: 2 }], drop: [a] })
  outbox.push({ t: 'hold', full: false, add: [{ digest: a, size: 1 }], drop: [b] })
  await stream.drain()
  assert.deepEqual(stream.sent.slice(1), [{ t: 'hold', full: false, add: [{ digest: a, size: 1 }], drop: [b] }])
})

test('merged lists stay within what one message may name', async () => {
  const stream = new ReluctantStream()
  const outbox = outboxOf(stream)
  for (let i = 0; i < 3000; i++) outbox.push({ t: 'hold', full: false, add: [{ digest: digestNamed(`${i}`), size: i }], drop: [] })
  for (let i = 0; i < 9; i++) outbox.push({ t: 'report', blob, got: Array.from({ length: 1000 }, (_, n) => n), spread: [], bytes: 1 })
  await stream.drain()
  const held = stream.sent.flatMap((message) => (message.t === 'hold' ? message.add : []))
  assert.equal(held.length, 3000)
  const got = stream.sent.flatMap((message) => (message.t === 'report' ? message.got : []))
  assert.equal(got.length, 9000)
})

test('a tracker that reads nothing at all is given up', () => {
  const stream = new ReluctantStream()
  const outbox = outboxOf(stream)
  for (let i = 0; i < 5000 && stream.open; i++) outbox.push({ t: 'cancel', blob })
  assert.equal(stream.error?.code, 'TRACKER_UNREACHABLE')
})

test('a note too long for one message goes in parts', () => {
  const got = Array.from({ length: 5000 }, (_, i) => i)
  const messages = noteToMessages({ t: 'report', blob, got, spread: [1], bytes: 7, whole: true })
  for (const message of messages) agentMessage.parse(message)
  const reports = messages.flatMap((message) => (message.t === 'report' ? message : []))
  assert.deepEqual(
    reports.flatMap((report) => report.got),
    got
  )
  assert.equal(
    reports.reduce((sum, { bytes }) => sum + bytes, 0),
    7
  )
  for (const message of noteToMessages({ t: 'orphans', blob, pieces: got })) agentMessage.parse(message)
})

test('while the tracker is slow, only the last state of a seed waits for it', async () => {
  const stream = new ReluctantStream()
  const outbox = outboxOf(stream)
  const counts = { local: 0, peer: 0, registry: 0 }
  for (const state of ['queued', 'fetching', 'done'] as const) outbox.push({ t: 'seeding', id: 'a', state, size: 0, counts })
  outbox.push({ t: 'seeding', id: 'b', state: 'queued', size: 0, counts })
  await stream.drain()
  assert.deepEqual(
    stream.sent.map((message) => (message.t === 'seeding' ? `${message.id} ${message.state}` : message.t)),
    ['a queued', 'a done', 'b queued']
  )
})
