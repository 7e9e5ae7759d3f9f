import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import { it } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import { type SeedDetail, type SeedTarget, TARGET_STATES, type TargetState } from '@layerswarm/core/api/seed-api.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { failuresOf, summaryText } from '../../src/seed/text.ts'
import { seedView } from '../../src/seed/view.ts'

const DIGEST = `sha256:${'ab'.repeat(32)}` as Digest
const ESCAPE = String.fromCharCode(27)
const NOTHING = { local: 0, peer: 0, registry: 0 }

function target(number: number, state: TargetState, more: Partial<SeedTarget> = {}): SeedTarget {
  return { number, name: `host-${number}`, id: `id-${number}`, zone: '', state, size: 0, counts: NOTHING, ...more }
}

function fetching(number: number, peer: number, registry = 0): SeedTarget {
  return target(number, 'fetching', { size: 100_000_000, counts: { local: 0, peer, registry } })
}

const DONE = { size: 100_000_000, counts: { local: 0, peer: 75_000_000, registry: 25_000_000 }, digest: DIGEST }

function seed(targets: readonly SeedTarget[], more: Partial<SeedDetail> = {}): SeedDetail {
  const states = Object.fromEntries(TARGET_STATES.map((state) => [state, targets.filter((one) => one.state === state).length]))
  const sum = (of: (one: SeedTarget) => number) => targets.reduce((total, one) => total + of(one), 0)
  return {
    id: '3f2a81c09d',
    image: 'registry.example.com/team/app:v1',
    hosts: ['all'],
    state: 'running',
    startedAt: '2026-11-24T10:00:00.000Z',
    seconds: 4.2,
    states: states as SeedDetail['states'],
    size: sum(({ size }) => size),
    counts: {
      local: sum(({ counts }) => counts.local),
      peer: sum(({ counts }) => counts.peer),
      registry: sum(({ counts }) => counts.registry)
    },
    digests: [DIGEST],
    stale: 0,
    copies: 1,
    revision: 1,
    targets: [...targets],
    ...more
  }
}

/** What is on the screen after each drawing: what moves the cursor up takes back as many lines. */
function screens(written: string): string[][] {
  const up = new RegExp(`${ESCAPE}\\[(\\d+)A${ESCAPE}\\[J`, 'g')
  let lines: string[] = []
  const shown: string[][] = []
  for (const [at, part] of written.split(up).entries()) {
    if (at % 2 === 1) lines = lines.slice(0, -Number(part))
    else {
      lines = [...lines, ...stripVTControlCharacters(part).split('\n').slice(0, -1)]
      shown.push(lines)
    }
  }
  return shown
}

it('shows a line per host on a terminal; one that has come to its end stays above', async () => {
  const terminal = Object.assign(new PassThrough(), { isTTY: true, columns: 80, rows: 24 })
  const written = text(terminal)
  {
    using view = seedView(terminal)
    view.show(seed([fetching(1, 20_000_000, 20_000_000), target(2, 'queued'), target(3, 'waiting'), target(4, 'fetching')]))
    const failed = target(3, 'failed', { error: { code: 'STORE_FULL', message: 'the store cannot take more', remedy: '' } })
    view.note('the tracker does not answer')
    view.show(seed([target(1, 'done', DONE), fetching(2, 0, 5_000_000), failed, target(4, 'here', { ...DONE, counts: NOTHING })]))
  }
  terminal.end()
  const [first, noted, second, last] = screens(await written)
  assert.deepEqual(first, [
    'host-1  [##########--------------]  40 % of 100.0 MB  50 % from peers',
    'host-2  queued',
    'host-3  waiting      it is not connected',
    'host-4  fetching     looking it up',
    'fleet   0 of 4 have it  40.0 MB of 100.0 MB  1.00 copies'
  ])
  assert.deepEqual(noted, ['the tracker does not answer', ...(first ?? [])])
  const ends = [
    'the tracker does not answer',
    'host-1  done         75.0 MB from peers, 25.0 MB from the registry',
    'host-3  failed       the store cannot take more',
    'host-4  already here 100.0 MB'
  ]
  assert.deepEqual(second, [
    ...ends,
    'host-2  [#-----------------------]   5 % of 100.0 MB  0 % from peers',
    'fleet   2 of 4 have it, 1 failed  105.0 MB of 300.0 MB  1.00 copies'
  ])
  assert.deepEqual(last, ends, 'the moving lines are taken away at the end')
  for (const line of second ?? []) assert.ok(line.length <= 80, line)
})

it('fits a fleet and names of any size on a small terminal', async () => {
  const terminal = Object.assign(new PassThrough(), { isTTY: true, columns: 80, rows: 10 })
  const written = text(terminal)
  {
    using view = seedView(terminal)
    const targets = Array.from({ length: 40 }, (_, number) => ({
      ...fetching(number, number * 1_000_000),
      name: `${'worker.'.repeat(8)}${number}`
    }))
    view.show(seed(targets))
    view.show(seed(targets))
  }
  terminal.end()
  const [first, second] = screens(await written)
  assert.deepEqual(second, first)
  assert.equal(first?.length, 9)
  assert.match(first?.[0] ?? '', /^…orker\.worker\.33 {2}\[/, 'the furthest, in their own order')
  assert.match(first?.at(-2) ?? '', /and 33 more$/)
  for (const line of first ?? []) assert.ok(line.length <= 80, line)
})

it('writes plain lines elsewhere: each end once, each quarter once, and no control characters of hosts', async () => {
  const output = new PassThrough()
  const written = text(output)
  {
    using view = seedView(output)
    const evil = { name: 'a\u001b[2J', error: { code: 'X', message: 'no\u001b[1A way', remedy: '' } }
    view.show(seed([fetching(1, 10_000_000), target(2, 'waiting')]))
    view.show(seed([fetching(1, 30_000_000), target(2, 'waiting')]))
    view.show(seed([fetching(1, 40_000_000), target(2, 'failed', evil)]))
    view.show(seed([target(1, 'done', DONE), target(2, 'failed', evil)], { state: 'failed' }))
  }
  output.end()
  assert.equal(
    await written,
    [
      'host-2  waiting      it is not connected',
      'fleet   0 of 2 have it  30.0 MB of 100.0 MB  1.00 copies',
      'a?[2J   failed       no?[1A way',
      'host-1  done         75.0 MB from peers, 25.0 MB from the registry',
      ''
    ].join('\n')
  )
})

it('sums up, names each reason once, and warns of a tag that moved', () => {
  const full = { error: { code: 'STORE_FULL', message: 'the store cannot take more', remedy: '' } }
  const ended = seed([target(1, 'done', DONE), target(2, 'failed', full), target(3, 'failed', full)], { state: 'failed' })
  assert.deepEqual(failuresOf(ended), ['host-2, host-3: the store cannot take more'])
  assert.equal(
    summaryText(ended),
    `registry.example.com/team/app:v1\n${DIGEST}\n3 hosts in 4.2 s: 1 done, 2 failed\n` +
      '100.0 MB: 75.0 MB from peers, 25.0 MB from the registry (1.00 copies),\n0 B already here\n'
  )
  assert.match(summaryText({ ...ended, digests: [DIGEST, `sha256:${'cd'.repeat(32)}` as Digest] }), /^warning: its tag moved meanwhile/m)
  assert.match(summaryText({ ...ended, size: 0, digests: [] }), /v1\n3 hosts in 4\.2 s: 1 done, 2 failed\n$/)
  assert.match(summaryText({ ...ended, stale: 1 }), /^warning: 1 host could not check the tag: it has what it pointed to before$/m)
})
