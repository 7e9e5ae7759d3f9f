import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock } from '@layerswarm/testkit/manual-clock.ts'
import { within } from '../src/deadline.ts'

const late = () => new Error('late')

test('what is done in time is given, and no sleep stays behind', async () => {
  const clock = new ManualClock()
  assert.equal(await within({ clock, ms: 100, late }, async () => 7), 7)
  assert.equal(clock.sleeping, 0)
})

test('what fails in time fails as it did', async () => {
  const clock = new ManualClock()
  const failed = new Error('failed')
  await assert.rejects(
    within({ clock, ms: 100, late }, async () => {
      throw failed
    }),
    failed
  )
  assert.equal(clock.sleeping, 0)
})

test('work that does not listen is given up all the same, and told so', async () => {
  const clock = new ManualClock()
  let told: AbortSignal | undefined
  const result = within({ clock, ms: 100, late }, (signal) => {
    told = signal
    return new Promise(() => undefined)
  })
  const rejected = assert.rejects(result, { message: 'late' })
  await clock.advance(99)
  assert.equal(told?.aborted, false)
  await clock.advance(1)
  await rejected
  assert.equal(told?.reason.message, 'late')
})

test("the caller's own signal ends the wait with its reason", async () => {
  const clock = new ManualClock()
  const stop = new AbortController()
  const reason = new Error('stopped')
  const result = within({ clock, ms: 100, late, signal: stop.signal }, () => new Promise(() => undefined))
  stop.abort(reason)
  await assert.rejects(result, reason)
  await clock.advance(0)
  assert.equal(clock.sleeping, 0)
  await assert.rejects(
    within({ clock, ms: 100, late, signal: stop.signal }, async () => 7),
    reason
  )
})
