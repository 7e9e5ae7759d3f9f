import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Digest } from '@layerswarm/core/digest.ts'
import { type BlobProgress, progressOf } from '../../src/images/progress.ts'

function step(letter: string, bytes: number): BlobProgress {
  return { digest: `sha256:${letter.repeat(64)}` as Digest, size: 10, bytes, done: bytes === 10 }
}

/** All that is yielded, and what comes of it. */
async function drain<T>(work: AsyncGenerator<{ readonly progress: BlobProgress }, T>): Promise<{ steps: BlobProgress[]; result: T }> {
  const steps: BlobProgress[] = []
  while (true) {
    const { value, done } = await work.next()
    if (done === true) return { steps, result: value }
    steps.push(value.progress)
  }
}

test('the latest of each blob is yielded, the last included, and then what the work came to', async () => {
  const work = progressOf({}, async ({ tell }) => {
    for (let bytes = 1; bytes <= 10; bytes++) tell(step('a', bytes))
    await new Promise(setImmediate)
    tell(step('b', 5))
    tell(step('a', 10))
    tell(step('b', 10))
    return 'all'
  })
  const { steps, result } = await drain(work)
  assert.deepEqual(steps, [step('a', 10), step('b', 10), step('a', 10)])
  assert.equal(result, 'all')
})

test('what is told while a step is read is not lost with the end', async () => {
  const told = Promise.withResolvers<void>()
  const work = progressOf({}, async ({ tell }) => {
    tell(step('a', 5))
    await told.promise
    tell(step('a', 10))
  })
  const first = await work.next()
  told.resolve()
  await new Promise(setImmediate)
  assert.deepEqual([first.value, (await drain(work)).steps], [{ progress: step('a', 5) }, [step('a', 10)]])
})

test('work fails as it does, and ends when nobody reads any more', async () => {
  await assert.rejects(
    drain(
      progressOf({}, async () => {
        throw new Error('no disk')
      })
    ),
    /no disk/
  )
  const ended = Promise.withResolvers<void>()
  const work = progressOf({}, async ({ signal, tell }) => {
    signal.addEventListener('abort', () => ended.resolve())
    tell(step('a', 1))
    await ended.promise
    signal.throwIfAborted()
  })
  for await (const _step of work) break
  await ended.promise
})
