/** The thread that hashes what is on disk. It takes one job after another; {@link HashThread} keeps each of them short. */
import { createHash, type Hash } from 'node:crypto'
import { closeSync, openSync, readSync } from 'node:fs'
import { parentPort } from 'node:worker_threads'

export type HashJob = { readonly job: number } & (
  | {
      /** Adds bytes `start … end - 1` of a file to the running hash `id`, which must have had all bytes before. */
      readonly kind: 'update'
      readonly id: number
      readonly algorithm: string
      readonly path: string
      readonly start: number
      readonly end: number
    }
  /** Ends the running hash `id`, which must have had `end` bytes. */
  | { readonly kind: 'digest'; readonly id: number; readonly algorithm: string; readonly end: number }
  | { readonly kind: 'drop'; readonly id: number }
  /** SHA-256 of each of `ranges`; all zero for one that the file does not reach. */
  | { readonly kind: 'pieces'; readonly path: string; readonly ranges: readonly (readonly [start: number, end: number])[] }
)

export interface HashAnswer {
  readonly job: number
  readonly hex?: string
  readonly hashes?: Uint8Array
  readonly error?: { readonly message: string; readonly code?: string }
}

const READ_BYTES = 1024 * 1024
const SHA256_BYTES = 32

const running = new Map<number, { readonly hash: Hash; at: number }>()
const buffer = Buffer.allocUnsafeSlow(READ_BYTES)

/** The running hash `id` that had `at` bytes. One that a thread before this one began must be begun again. */
function runningAt(id: number, algorithm: string, at: number): { readonly hash: Hash; at: number } {
  const found = running.get(id) ?? { hash: createHash(algorithm), at: 0 }
  if (found.at !== at) throw new Error('a running hash is out of step')
  running.set(id, found)
  return found
}

/** @returns whether the file reaches `end`. */
function feed(into: Hash, file: number, start: number, end: number): boolean {
  let at = start
  while (at < end) {
    const read = readSync(file, buffer, 0, Math.min(READ_BYTES, end - at), at)
    if (read === 0) return false
    into.update(read === READ_BYTES ? buffer : buffer.subarray(0, read))
    at += read
  }
  return true
}

function withFile<T>(path: string, work: (file: number) => T): T {
  const file = openSync(path, 'r')
  try {
    return work(file)
  } finally {
    closeSync(file)
  }
}

function hashPieces(path: string, ranges: readonly (readonly [number, number])[]): Uint8Array {
  const hashes = new Uint8Array(ranges.length * SHA256_BYTES)
  withFile(path, (file) => {
    ranges.forEach(([start, end], at) => {
      const piece = createHash('sha256')
      if (feed(piece, file, start, end)) hashes.set(piece.digest(), at * SHA256_BYTES)
    })
  })
  return hashes
}

function run(job: HashJob): Omit<HashAnswer, 'job'> {
  switch (job.kind) {
    case 'update': {
      const state = runningAt(job.id, job.algorithm, job.start)
      const whole = withFile(job.path, (file) => feed(state.hash, file, job.start, job.end))
      state.at = job.end
      return whole ? {} : { error: { message: 'the file is shorter than expected' } }
    }
    case 'digest': {
      const hex = runningAt(job.id, job.algorithm, job.end).hash.digest('hex')
      running.delete(job.id)
      return { hex }
    }
    case 'drop':
      running.delete(job.id)
      return {}
    case 'pieces':
      return { hashes: hashPieces(job.path, job.ranges) }
  }
}

parentPort?.on('message', (job: HashJob) => {
  let answer: Omit<HashAnswer, 'job'>
  try {
    answer = run(job)
  } catch (error) {
    const { message, code } = error as NodeJS.ErrnoException
    answer = { error: { message, ...(code === undefined ? {} : { code }) } }
  }
  parentPort?.postMessage({ job: job.job, ...answer })
})
