import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'

/** Everything a run leaves on the machine carries this prefix and its owner, so that a later run can remove it. */
const PREFIX = 'lsw'
/** Whatever TMPDIR says: a Unix socket's path has 108 bytes at most, and podman takes no run folder beyond 50. */
const PARENT = '/tmp'
const NETNS_DIR = '/run/netns'

/** The pid and its start time: a pid alone may belong to another process by the time somebody looks. */
function owner(): string {
  return `${PREFIX}-${process.pid}-${startTime(process.pid)}`
}

let created = 0

/** A name for a namespace or folder of this process, unique on the machine. */
export function uniqueName(): string {
  created += 1
  return `${owner()}-${created}`
}

/** A temporary folder that is removed on dispose, or by the next run if this one dies. */
export function temporaryFolder(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(PARENT, `${uniqueName()}-`))
  return { path, [Symbol.dispose]: () => removeFolder(path) }
}

/** Removes the namespaces, processes and folders of earlier runs whose process has gone. */
export function removeLeftovers(): void {
  for (const name of namespaces()) {
    if (!isOrphan(name)) continue
    for (const pid of pidsInNamespace(name)) kill(pid)
    execFileSync('ip', ['netns', 'del', name])
  }
  for (const name of readdirSync(PARENT)) {
    if (isOrphan(name)) removeFolder(join(PARENT, name))
  }
}

/** The processes that run in a named network namespace. */
export function pidsInNamespace(name: string): number[] {
  return execFileSync('ip', ['netns', 'pids', name], { encoding: 'utf8' }).split('\n').filter(Boolean).map(Number)
}

function namespaces(): string[] {
  try {
    return readdirSync(NETNS_DIR)
  } catch {
    return []
  }
}

function isOrphan(name: string): boolean {
  const match = new RegExp(`^${PREFIX}-(\\d+)-(\\d+)-`).exec(name)
  return match !== null && startTime(Number(match[1])) !== match[2]
}

function startTime(pid: number): string | undefined {
  try {
    // The command may hold spaces and brackets; the fields that follow it do not.
    return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ')[19]
  } catch {
    return undefined
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It ended by itself in the meantime.
  }
}

function removeFolder(path: string): void {
  for (const line of readFileSync('/proc/mounts', 'utf8').split('\n').toReversed()) {
    const mountPoint = line.split(' ')[1]
    if (mountPoint === path || mountPoint?.startsWith(`${path}/`)) execFileSync('umount', ['--lazy', mountPoint])
  }
  rmSync(path, { recursive: true, force: true, maxRetries: 5 })
}
