import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** What was looked at and how it is. */
export interface Finding {
  /** Names the check, for programs. */
  readonly check: string
  /** unknown: it could not be found out, which is no fault by itself. */
  readonly status: 'ok' | 'problem' | 'unknown'
  readonly text: string
  /** What to do, for a problem. */
  readonly remedy?: string
}

export function ok(check: string, text: string): Finding {
  return { check, status: 'ok', text }
}

export function unknown(check: string, text: string): Finding {
  return { check, status: 'unknown', text }
}

export function problem(check: string, text: string, remedy: string): Finding {
  return { check, status: 'problem', text, remedy }
}

/** One question to one host; a person waits for the answer. */
export const ASK_MS = 3_000

/** Whether somebody accepts TCP connections there. */
export async function accepts(host: string, port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const socket = connect({ host, port }, () => resolve(true)).on('error', () => resolve(false))
  const timer = new AbortController()
  const late = sleep(ASK_MS, false, { signal: timer.signal }).catch(() => false)
  try {
    return await Promise.race([promise, late])
  } finally {
    timer.abort()
    socket.destroy()
  }
}
