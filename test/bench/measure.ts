import { readFileSync } from 'node:fs'

/** Clock ticks per second in /proc, the same on every Linux that Node runs on. */
const TICKS = 100

export const MIB = 1024 * 1024
const GIB = 1024 * MIB

export type Row = Readonly<Record<string, string | number>>

/** The processor time that a process with all its threads has taken, in seconds. */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / TICKS
}

/** The memory that a process holds now and the most that it has held, in MiB. */
export function residentMib(pid: number): { now: number; peak: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const kib = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1])
  return { now: Math.round(kib('VmRSS') / 1024), peak: Math.round(kib('VmHWM') / 1024) }
}

/** One transfer: how long it took and what it cost the processes that are looked at. */
export interface Sample {
  readonly bytes: number
  readonly seconds: number
  readonly cpu: number
}

/** Runs a transfer and takes the processor time of `pids` meanwhile. */
export async function sample(pids: readonly number[], transfer: () => Promise<{ bytes: number; seconds: number }>): Promise<Sample> {
  const total = () => pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0)
  const before = total()
  const { bytes, seconds } = await transfer()
  return { bytes, seconds, cpu: total() - before }
}

/** The medians of repeated transfers, as a row: MB/s and processor seconds per GiB. */
export function rowOf(subject: string, samples: readonly Sample[]): Row {
  return {
    subject,
    'MB/s': Math.round(median(samples.map(({ bytes, seconds }) => bytes / 1e6 / seconds))),
    'CPU-s/GiB': Number(median(samples.map(({ bytes, cpu }) => (cpu * GIB) / bytes)).toFixed(2)),
    runs: samples.length
  }
}

/** The middle of `values`. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2
}

/** A figure as tables show it: to a thousandth. */
export function rounded(value: number): number {
  return Number(value.toFixed(3))
}
