import { constants } from 'node:fs'
import { access, statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { AgentConfig } from '@layerswarm/agent/config.ts'
import { describeError } from '@layerswarm/core/errors.ts'
import { ASK_MS, type Finding, ok, problem, unknown } from './finding.ts'

/** A node's images are unpacked from what is stored; below this the next pull may fail. */
const MIN_FREE_BYTES = 1024 ** 3
const MIN_FREE_INODES = 0.01
/** Tokens live for minutes, and are compared with a clock; no machine that keeps time is off by more. */
const MAX_CLOCK_MS = 60_000
const DOCKER_HUB = 'registry-1.docker.io'

export async function checkDisk(dataDir: string): Promise<Finding> {
  const dir = await nearest(dataDir)
  const room = await statfs(dir).catch(describeError)
  if (typeof room === 'string') return unknown('disk', `it cannot be seen what room there is: ${room}`)
  const { bavail, bsize, files, ffree } = room
  const writable = await access(dir, constants.W_OK).then(
    () => undefined,
    (error: NodeJS.ErrnoException) => error.code
  )
  if (writable === 'EACCES' && process.getuid?.() !== 0)
    return unknown('disk', `this user may not write to ${dir}: run this as the agent's user`)
  if (writable !== undefined)
    return problem('disk', `${dir} cannot be written to (${writable})`, 'mount it writable, or choose another --data-dir')
  const free = `${((bavail * bsize) / 1e9).toFixed(1)} GB free at ${dir}`
  if (bavail * bsize < MIN_FREE_BYTES)
    return problem('disk', `the disk is nearly full: ${free}`, 'free some space, or move --data-dir to another disk')
  if (files > 0 && ffree < files * MIN_FREE_INODES) {
    return problem(
      'disk',
      `the file system of ${dir} has hardly any inodes left`,
      'remove files, or move --data-dir to another file system'
    )
  }
  return ok('disk', free)
}

async function nearest(dir: string): Promise<string> {
  const exists = await access(dir).then(
    () => true,
    (error: NodeJS.ErrnoException) => error.code !== 'ENOENT' && error.code !== 'ENOTDIR'
  )
  return exists || dir === dirname(dir) ? dir : await nearest(dirname(dir))
}

/** Compares the clock with the first registry that answers: tokens and certificates are only valid for a time. */
export async function checkClock({ registry, insecureRegistry }: Pick<AgentConfig, 'registry' | 'insecureRegistry'>): Promise<Finding> {
  try {
    const { host, off } = await Promise.any(registry.map((one) => clockOf(one, insecureRegistry.includes(one))))
    const seconds = Math.round(Math.abs(off) / 1000)
    if (Math.abs(off) <= MAX_CLOCK_MS) return ok('clock', `the clock agrees with that of ${host}`)
    const direction = off > 0 ? 'behind' : 'ahead of'
    return problem('clock', `the clock is ${seconds} s ${direction} that of ${host}`, 'set it and keep it right: timedatectl set-ntp true')
  } catch {
    return unknown('clock', 'no registry answered, so the clock was compared with nothing')
  }
}

async function clockOf(registry: string, insecure: boolean): Promise<{ host: string; off: number }> {
  const host = registry === 'docker.io' ? DOCKER_HUB : registry
  const sentAt = Date.now()
  const response = await fetch(`${insecure ? 'http' : 'https'}://${host}/v2/`, {
    method: 'HEAD',
    redirect: 'manual',
    signal: AbortSignal.timeout(ASK_MS)
  })
  const theirs = Date.parse(response.headers.get('date') ?? '')
  if (Number.isNaN(theirs)) throw new Error('no date')
  return { host, off: theirs - (sentAt + Date.now()) / 2 }
}
