import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock } from '@layerswarm/testkit/manual-clock.ts'
import { Answers } from '../../src/images/answers.ts'

test('callers at the same time share one answer, later ones the kept one', async () => {
  const clock = new ManualClock()
  const answers = new Answers<number>({ clock }, { ttl: () => 1000, max: 10 })
  let asked = 0
  const work = async () => ++asked
  assert.deepEqual(await Promise.all([answers.get('a', work), answers.get('a', work), answers.get('b', work)]), [1, 1, 2])
  await clock.advance(999)
  assert.equal(await answers.get('a', work), 1)
  await clock.advance(1)
  assert.equal(await answers.get('a', work), 3)
})

test('failures are shared but not kept', async () => {
  const answers = new Answers<number>({ clock: new ManualClock() }, { ttl: () => 1000, max: 10 })
  const fails = async () => {
    throw new Error('no')
  }
  const both = await Promise.allSettled([answers.get('a', fails), answers.get('a', async () => 1)])
  assert.deepEqual(
    both.map(({ status }) => status),
    ['rejected', 'rejected']
  )
  assert.equal(await answers.get('a', async () => 2), 2)
})

test('one that gives up leaves the others waiting; the last ends the work', async () => {
  const answers = new Answers<number>({ clock: new ManualClock() }, { ttl: () => 0, max: 0 })
  let stopped: AbortSignal | undefined
  const work = (signal: AbortSignal) => {
    stopped = signal
    return new Promise<number>((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
  }
  const [one, two] = [new AbortController(), new AbortController()]
  const first = answers.get('a', work, { signal: one.signal })
  const second = answers.get('a', work, { signal: two.signal })
  one.abort(new Error('one'))
  await assert.rejects(first, { message: 'one' })
  assert.equal(stopped?.aborted, false)
  two.abort(new Error('two'))
  await assert.rejects(second, { message: 'two' })
  assert.equal(stopped?.aborted, true)
  assert.equal(await answers.get('a', async () => 5), 5)
})

test('the oldest answers go when there are too many', async () => {
  const answers = new Answers<string>({ clock: new ManualClock() }, { ttl: () => 1000, max: 2 })
  for (const key of ['a', 'b', 'c']) await answers.get(key, async () => 'old')
  const again = await Promise.all(['a', 'b', 'c'].map((key) => answers.get(key, async () => 'new')))
  assert.equal(again[0], 'new')
  assert.equal(again[2], 'old')
})

test('what is forgotten is asked anew, even while an answer is under way, which is then not kept', async () => {
  const answers = new Answers<string>({ clock: new ManualClock() }, { ttl: () => 1000, max: 10 })
  const old = Promise.withResolvers<string>()
  const first = answers.get('a', () => old.promise)
  answers.forget('a')
  assert.equal(await answers.get('a', async () => 'new'), 'new')
  old.resolve('old')
  assert.equal(await first, 'old')
  assert.equal(await answers.get('a', async () => 'newer'), 'new')
})
