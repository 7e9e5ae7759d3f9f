import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock } from '../src/manual-clock.ts'

test('sleeps end in order of their time, each at its own', async () => {
  const clock = new ManualClock(100)
  const woke: [string, number][] = []
  const sleeper = async (name: string, ...naps: number[]): Promise<void> => {
    for (const ms of naps) {
      await clock.sleep(ms)
      woke.push([name, clock.now()])
    }
  }
  const all = [sleeper('a', 30, 5), sleeper('b', 10, 10), sleeper('c', 1000)]
  await clock.advance(40)
  assert.deepEqual(woke, [
    ['b', 110],
    ['b', 120],
    ['a', 130],
    ['a', 135]
  ])
  assert.equal(clock.now(), 140)
  assert.equal(clock.sleeping, 1)
  assert.equal(clock.nextAt, 1100)
  await clock.runUntil(Promise.all(all))
  assert.equal(clock.now(), 1100)
})

test('a sleep ends early with the reason of its signal', async () => {
  const clock = new ManualClock()
  const abort = new AbortController()
  const sleep = clock.sleep(10, { signal: abort.signal })
  abort.abort(new Error('woken'))
  await assert.rejects(sleep, /woken/)
  assert.equal(clock.sleeping, 0)
  await assert.rejects(clock.sleep(10, { signal: abort.signal }), /woken/)
})

test('work that takes too long fails the test that waits for it, and its own failure is passed on', async () => {
  const clock = new ManualClock()
  await assert.rejects(clock.runUntil(clock.sleep(2000), 1000), /1000 ms/)
  const failing = clock.sleep(5).then(() => Promise.reject(new Error('broken')))
  await assert.rejects(clock.runUntil(failing), /broken/)
})
