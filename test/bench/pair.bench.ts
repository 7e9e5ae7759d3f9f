/**
 * The peers' transport alone, process to process over loopback: pieces of a file, verified and written at the other
 * end. Beside a TLS socket and an HTTP file server that do the same, without and with the flags that daemons run with.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { hash, randomFillSync } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { rowOf, type Sample } from './measure.ts'
import type { Order } from './pair/role.ts'

const ROUNDS = 5
const MIB = 1024 * 1024
const SIZE = 512 * MIB
const FLAGS = ['--external-memory-accounted-in-global-limit', '--initial-heap-size=64', '--max-semi-space-size=4']
/** Memory, where there is some: the disk is not what is measured. */
const PARENT = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()

const SUBJECTS = [
  { subject: 'peers, 4 MiB pieces', name: 'peers 4 MiB', flags: FLAGS },
  { subject: 'peers, 256 KiB pieces', name: 'peers 256 KiB', flags: FLAGS },
  { subject: 'node:tls', name: 'tls', flags: [] },
  { subject: 'node:tls, same flags', name: 'tls', flags: FLAGS },
  { subject: 'node:http, undici, plaintext', name: 'http', flags: [] },
  { subject: 'node:http, undici, same flags', name: 'http', flags: FLAGS }
]

async function ask(child: ChildProcess, order: Order): Promise<unknown> {
  child.send(order)
  const [answer] = await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(([code]) => {
      throw new Error(`a process ended with ${code}`)
    })
  ])
  return answer
}

async function makeFile(path: string): Promise<{ small: string[]; large: string[] }> {
  const hashes = { small: [] as string[], large: [] as string[] }
  await using file = await open(path, 'w')
  const piece = Buffer.alloc(4 * MIB)
  for (let at = 0; at < SIZE; at += piece.byteLength) {
    randomFillSync(piece)
    hashes.large.push(hash('sha256', piece, 'hex'))
    for (let i = 0; i < 16; i++) hashes.small.push(hash('sha256', piece.subarray((i * MIB) / 4, ((i + 1) * MIB) / 4), 'hex'))
    await file.write(piece)
  }
  return hashes
}

async function transfer(name: string, flags: readonly string[], dir: string, hashes: readonly string[]): Promise<Sample & { rss: number }> {
  const role = fileURLToPath(new URL('pair/role.ts', import.meta.url))
  const ends = [0, 1].map(() => fork(role, { execArgv: [...flags] }))
  const [sender, receiver] = ends as [ChildProcess, ChildProcess]
  const usage = async () => (await Promise.all(ends.map((end) => ask(end, 'cpu')))) as { cpu: number; rss: number }[]
  const cpu = (all: readonly { cpu: number }[]) => all.reduce((sum, one) => sum + one.cpu, 0)
  try {
    const from = (await ask(sender, { send: name, path: join(dir, 'file') })) as string
    const before = await usage()
    const seconds = (await ask(receiver, { receive: name, from, path: join(dir, 'copy'), hashes })) as number
    const after = await usage()
    return { bytes: SIZE, seconds, cpu: cpu(after) - cpu(before), rss: Math.max(...after.map(({ rss }) => rss)) }
  } finally {
    for (const end of ends) end.kill('SIGKILL')
  }
}

const dir = await mkdtemp(join(PARENT, 'layerswarm-pair-'))
try {
  const hashes = await makeFile(join(dir, 'file'))
  const samples = SUBJECTS.map((): (Sample & { rss: number })[] => [])
  for (let round = 0; round < ROUNDS; round++) {
    for (const [at, { name, flags }] of SUBJECTS.entries()) {
      samples[at]?.push(await transfer(name, flags, dir, name.includes('256') ? hashes.small : hashes.large))
    }
  }
  console.table(
    SUBJECTS.map(({ subject }, at) => {
      const all = samples[at] ?? []
      return { ...rowOf(subject, all), 'RSS MiB': Math.round(Math.max(...all.map(({ rss }) => rss)) / MIB) }
    })
  )
} finally {
  await rm(dir, { recursive: true })
}
