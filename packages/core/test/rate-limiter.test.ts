import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ManualClock } from '@layerswarm/testkit/manual-clock.ts'
import { SeededRandom } from '@layerswarm/testkit/seeded-random.ts'
import { RateLimiter, type Throttle, together } from '../src/rate-limiter.ts'

const RATE = 1_000_000
const SECOND = 1000

/** What passed, and when. */
interface Passed {
  readonly at: number
  readonly bytes: number
  readonly key: string
}

/** Keeps `throttle` busy for `key` with parts of `size` bytes until `signal` fires. */
async function keepTaking(clock: ManualClock, throttle: Throttle, passed: Passed[], key: string, size: number, signal: AbortSignal) {
  try {
    for (;;) {
      await throttle.take(size, { key, signal })
      passed.push({ at: clock.now(), bytes: size, key })
    }
  } catch (error) {
    assert.equal(error, signal.reason)
  }
}

function bytesOf(passed: readonly Passed[], key?: string): number {
  return passed.reduce((sum, part) => sum + (key === undefined || part.key === key ? part.bytes : 0), 0)
}

/** The most and the least that passed in any second that begins within the time covered, the first second aside. */
function anySecond(passed: readonly Passed[], end: number): { most: number; least: number } {
  let most = 0
  let least = Number.POSITIVE_INFINITY
  for (let from = SECOND; from + SECOND <= end; from++) {
    const bytes = bytesOf(passed.filter(({ at }) => at >= from && at < from + SECOND))
    most = Math.max(most, bytes)
    least = Math.min(least, bytes)
  }
  return { most, least }
}

async function run(ms: number, takers: readonly (readonly [key: string, size: number])[], make = limiter) {
  const clock = new ManualClock()
  const throttle = make(clock)
  const stop = new AbortController()
  const passed: Passed[] = []
  const taking = takers.map(([key, size]) => keepTaking(clock, throttle, passed, key, size, stop.signal))
  await clock.advance(ms)
  stop.abort(new Error('enough'))
  await Promise.all(taking)
  assert.equal(clock.sleeping, 0)
  return passed
}

function limiter(clock: ManualClock, rate = RATE): RateLimiter {
  return new RateLimiter({ clock }, { bytesPerSecond: rate })
}

function grainAt(rate: number): number {
  return limiter(new ManualClock(), rate).grain
}

describe('a rate', () => {
  for (const rate of [20_000, 100_000, RATE, 125_000_000]) {
    test(`of ${rate} bytes a second is kept within 5 % in any second`, async () => {
      const passed = await run(4 * SECOND, [['a', grainAt(rate)]], (clock) => limiter(clock, rate))
      const { most, least } = anySecond(passed, 4 * SECOND)
      assert.ok(most <= rate * 1.05, `${most} bytes in a second`)
      assert.ok(least >= rate * 0.95, `${least} bytes in a second`)
    })
  }

  test('holds from the first byte, and after a pause', async () => {
    const clock = new ManualClock()
    const throttle = limiter(clock)
    for (let round = 0; round < 2; round++) {
      const stop = new AbortController()
      const passed: Passed[] = []
      const taking = keepTaking(clock, throttle, passed, 'a', throttle.grain, stop.signal)
      await clock.advance(SECOND)
      stop.abort()
      await taking
      assert.ok(bytesOf(passed) <= RATE * 1.05, `${bytesOf(passed)} bytes in a second`)
      await clock.advance(60 * SECOND)
    }
  })

  test('is kept where timers fire late, and made up for without haste', async () => {
    const random = new SeededRandom(1)
    const passed = await run(8 * SECOND, [['a', grainAt(RATE)]], (clock) => {
      const late = { now: () => clock.now(), sleep: (ms: number, options = {}) => clock.sleep(ms + 100 * random.next() ** 3, options) }
      return new RateLimiter({ clock: late }, { bytesPerSecond: RATE })
    })
    const { most, least } = anySecond(passed, 8 * SECOND)
    assert.ok(most <= RATE * 1.05, `${most} bytes in a second`)
    assert.ok(least >= RATE * 0.8, `${least} bytes in a second`)
    assert.ok(bytesOf(passed) >= 8 * RATE * 0.98, `${bytesOf(passed)} bytes`)
  })

  test('is kept on average by parts larger than what it allows in a second', async () => {
    const size = 3 * RATE
    const passed = await run(30 * SECOND, [['a', size]])
    assert.ok(Math.abs(bytesOf(passed) - 30 * RATE) <= size, `${bytesOf(passed)} bytes`)
  })
})

describe('those who share a rate', () => {
  test('get the same, however many waits each has and however large its parts are', async () => {
    const grain = grainAt(RATE)
    const passed = await run(3 * SECOND, [
      ['a', grain],
      ['a', grain],
      ['a', grain],
      ['a', grain],
      ['b', grain],
      ['c', Math.floor(grain / 4)]
    ])
    const later = passed.filter(({ at }) => at >= SECOND)
    const share = bytesOf(later) / 3
    for (const key of ['a', 'b', 'c']) {
      assert.ok(Math.abs(bytesOf(later, key) / share - 1) < 0.03, `${key} got ${bytesOf(later, key)} of ${share}`)
    }
  })

  test('get what another leaves, and it has no claim to it later', async () => {
    const clock = new ManualClock()
    const throttle = limiter(clock)
    const stop = new AbortController()
    const passed: Passed[] = []
    const early = keepTaking(clock, throttle, passed, 'early', throttle.grain, stop.signal)
    await clock.advance(2 * SECOND)
    assert.ok(bytesOf(passed) > 1.9 * RATE)
    passed.length = 0
    const late = keepTaking(clock, throttle, passed, 'late', throttle.grain, stop.signal)
    await clock.advance(SECOND)
    stop.abort()
    await Promise.all([early, late])
    assert.ok(Math.abs(bytesOf(passed, 'late') / bytesOf(passed, 'early') - 1) < 0.05)
  })

  test('within one key come in order', async () => {
    const clock = new ManualClock()
    const throttle = limiter(clock)
    throttle.charge(RATE)
    const order: number[] = []
    const takes = [1, 2, 3].map((number) => throttle.take(1000, { key: 'a' }).then(() => order.push(number)))
    await clock.runUntil(Promise.all(takes))
    assert.deepEqual(order, [1, 2, 3])
  })
})

describe('a wait', () => {
  test('ends at once when it is aborted, takes nothing, and keeps no timer', async () => {
    const clock = new ManualClock()
    const throttle = limiter(clock)
    throttle.charge(RATE)
    const stop = new AbortController()
    const wait = throttle.take(1000, { key: 'a', signal: stop.signal })
    await clock.advance(1)
    assert.equal(clock.sleeping, 1)
    const reason = new Error('gone')
    stop.abort(reason)
    await assert.rejects(wait, reason)
    assert.equal(clock.sleeping, 0)
    await assert.rejects(throttle.take(1, { key: 'a', signal: stop.signal }), reason)
    const before = clock.now()
    await clock.runUntil(throttle.take(1, { key: 'b' }))
    assert.ok(clock.now() - before <= SECOND)
  })

  test('of others goes on when one in the middle is aborted', async () => {
    const clock = new ManualClock()
    const throttle = limiter(clock)
    throttle.charge(RATE / 10)
    const stop = new AbortController()
    const takes = ['a', 'b', 'c'].map((key) => throttle.take(1000, { key, ...(key === 'b' && { signal: stop.signal }) }))
    stop.abort()
    const results = await clock.runUntil(Promise.allSettled(takes))
    assert.deepEqual(
      results.map(({ status }) => status),
      ['fulfilled', 'rejected', 'fulfilled']
    )
  })

  test('that is aborted again and again costs who waits nothing of its share', async () => {
    const clock = new ManualClock()
    const throttle = limiter(clock)
    const stop = new AbortController()
    const passed: Passed[] = []
    const steady = keepTaking(clock, throttle, passed, 'steady', throttle.grain, stop.signal)
    await clock.advance(100)
    for (let round = 0; round < 20; round++) {
      const gone = new AbortController()
      const waits = [1, 2, 3, 4, 5].map(() => throttle.take(throttle.grain, { key: 'b', signal: gone.signal }))
      gone.abort()
      await Promise.allSettled(waits)
    }
    passed.length = 0
    const other = keepTaking(clock, throttle, passed, 'b', throttle.grain, stop.signal)
    await clock.advance(SECOND)
    stop.abort()
    await Promise.all([steady, other])
    assert.ok(Math.abs(bytesOf(passed, 'b') / bytesOf(passed, 'steady') - 1) < 0.05, `${bytesOf(passed, 'b')} bytes`)
  })

  test('is spared for what is only charged, and then borne by who comes next', async () => {
    const clock = new ManualClock()
    const throttle = limiter(clock)
    assert.equal(throttle.tryTake(throttle.grain), true)
    throttle.charge(RATE)
    assert.equal(throttle.tryTake(1), false)
    await clock.runUntil(throttle.take(1, { key: 'a' }))
    assert.ok(clock.now() > 0.95 * SECOND && clock.now() <= SECOND, `after ${clock.now()} ms`)
  })
})

describe('rates together', () => {
  test('let pass what the lowest of them allows', async () => {
    const passed = await run(3 * SECOND, [['a', grainAt(RATE / 4)]], (clock) => {
      const both = together(limiter(clock), undefined, limiter(clock, RATE / 4))
      assert.ok(both)
      assert.equal(both.grain, grainAt(RATE / 4))
      return both as RateLimiter
    })
    assert.ok(Math.abs(bytesOf(passed) / (0.75 * RATE) - 1) < 0.05, `${bytesOf(passed)} bytes`)
  })

  test('take from all or from none where nobody waits', () => {
    const clock = new ManualClock()
    const [wide, narrow] = [limiter(clock), limiter(clock, RATE / 4)]
    const both = together(wide, narrow)
    narrow.charge(RATE)
    assert.equal(both?.tryTake(RATE), false)
    assert.equal(wide.tryTake(1), true)
    both?.charge(RATE)
    assert.equal(wide.tryTake(1), false)
  })

  test('of none are none, and of one are that one', () => {
    const one = limiter(new ManualClock())
    assert.equal(together(undefined, undefined), undefined)
    assert.equal(together(undefined, one), one)
  })
})
