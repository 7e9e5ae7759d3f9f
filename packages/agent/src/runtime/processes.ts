import { readdir, readFile } from 'node:fs/promises'

/** Clock ticks a second in /proc, on every Linux that Node runs on. */
const TICKS = 100

export interface Daemon {
  readonly pid: number
  /** Its command line, the program first. */
  readonly args: readonly string[]
  /** Milliseconds since the epoch. */
  readonly startedAt: number
}

/** The processes that run a program of this name. */
export async function daemonsNamed(name: string): Promise<readonly Daemon[]> {
  const pids = (await readdir('/proc').catch(() => [])).filter((entry) => /^\d+$/.test(entry)).map(Number)
  const daemons = await Promise.all(pids.map((pid) => daemonAt(pid, name)))
  return daemons.filter((daemon) => daemon !== undefined)
}

/** @returns undefined when no process of that name has this pid */
export async function daemonAt(pid: number, name: string): Promise<Daemon | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
    if (stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')')) !== name) return undefined
    const [args, uptime] = await Promise.all([readFile(`/proc/${pid}/cmdline`, 'utf8'), readFile('/proc/uptime', 'utf8')])
    const startTicks = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19])
    return { pid, args: args.split('\0').slice(0, -1), startedAt: startOf(startTicks, Number.parseFloat(uptime), Date.now()) }
  } catch {
    return undefined
  }
}

/**
 * When a process began, in milliseconds since the epoch, never before it did: the kernel rounds down, and what was
 * written just before must not seem to be newer.
 * @param uptime seconds since the machine began, at `now`
 */
export function startOf(startTicks: number, uptime: number, now: number): number {
  return now - (uptime - (startTicks + 1) / TICKS) * 1000
}

/** The value of `--name VALUE` or `--name=VALUE`; the last one given. */
export function flagOf(args: readonly string[], ...names: readonly string[]): string | undefined {
  let value: string | undefined
  for (const [index, arg] of args.entries()) {
    for (const name of names) {
      if (arg === name) value = args[index + 1]
      else if (arg.startsWith(`${name}=`)) value = arg.slice(name.length + 1)
    }
  }
  return value
}
