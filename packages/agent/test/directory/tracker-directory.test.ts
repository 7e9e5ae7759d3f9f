import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { Lease } from '@layerswarm/core/claims.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { isLayerswarmError } from '@layerswarm/core/errors.ts'
import { newIdentity } from '@layerswarm/core/p2p/identity.ts'
import { createNode } from '@layerswarm/core/p2p/node.ts'
import { layoutOf, runCount } from '@layerswarm/core/piece-layout.ts'
import { DIRECTORY_PROTOCOL } from '@layerswarm/core/wire/directory-protocol.ts'
import { ManualClock } from '@layerswarm/testkit/manual-clock.ts'
import { eventOf, type FleetMember, TestFleet } from '@layerswarm/testkit/test-fleet.ts'
import { type Logger, pino } from 'pino'
import { KnownPeers } from '../../src/directory/known-peers.ts'
import { TrackerDirectory } from '../../src/directory/tracker-directory.ts'
import { TrackerPins } from '../../src/directory/tracker-pins.ts'
import type { DirectoryNote } from '../../src/ports.ts'

const SCOPE = 'docker.io/library/app'
const SIZE = 64 * 1024 * 1024
const RUNS = runCount(layoutOf(SIZE))
const silent = pino({ level: 'silent' })

function warningsTo(take: (line: string) => void): Logger {
  return pino({ level: 'warn' }, { write: take })
}

function digestNamed(name: string): Digest {
  return `sha256:${createHash('sha256').update(name).digest('hex')}` as Digest
}

const blob = { digest: digestNamed('layer'), size: SIZE }

function ask({ directory }: FleetMember, options: { want?: boolean } = {}) {
  return directory.plan({ scope: SCOPE, blobs: [blob], origin: true, want: options.want ?? true })
}

test('leases in hand survive a restart of the tracker: nobody else gets them', async () => {
  await using fleet = await TestFleet.start()
  const leases: Lease[] = []
  const partials = (): DirectoryNote[] => [
    { t: 'partial', blob: blob.digest, size: SIZE, bits: new Uint8Array(layoutOf(SIZE).pieces / 8), leases: [...leases] }
  ]
  const holder = await fleet.join({ partials })
  const other = await fleet.join()
  leases.push(...((await ask(holder)).blobs[0]?.leases ?? []))
  assert.equal(leases.length, 2)
  const lost = eventOf(holder.directory, 'down')
  await fleet.stopTracker()
  await lost
  assert.equal(holder.directory.connected, false)
  const back = [eventOf(holder.directory, 'up'), eventOf(other.directory, 'up')]
  const later = eventOf(other.directory, 'leases')
  await fleet.restartTracker()
  await Promise.all(back)
  assert.ok(holder.directory.trusted.has(fleet.tracker.id))
  const plan = await ask(other)
  assert.deepEqual(plan.blobs[0]?.leases, [], 'first those who hold leases come back')
  const granted = (await later).grant.map(({ run }) => run)
  assert.ok(granted.length > 0 && granted.every((run) => run < RUNS && !leases.some((lease) => lease.run === run)))
})

test('after a restart of the tracker a host may fetch again what it asked for before', async () => {
  await using fleet = await TestFleet.start()
  const bits = new Uint8Array(layoutOf(SIZE).pieces / 8)
  const member = await fleet.join({ partials: () => [{ t: 'partial', blob: blob.digest, size: SIZE, bits, leases: [] }] })
  await ask(member)
  const lost = eventOf(member.directory, 'down')
  await fleet.stopTracker()
  await lost
  const leased = eventOf(member.directory, 'leases')
  await fleet.restartTracker()
  assert.equal((await leased).blob, blob.digest)
})

test('all holdings are told again after a restart, those that changed meanwhile as they are now', async () => {
  await using fleet = await TestFleet.start()
  const held = Array.from({ length: 2500 }, (_, i) => ({ digest: digestNamed(`blob ${i}`), size: 1000 + i }))
  const holder = await fleet.join({ holdings: () => held })
  const asker = await fleet.join()
  const last = held.at(-1)
  assert.ok(last)
  const complete = async () => {
    const wanted = [held[0], held[1500], last].flatMap((one) => (one === undefined ? [] : [{ digest: one.digest }]))
    const plan = await asker.directory.plan({ scope: SCOPE, blobs: wanted, origin: false, want: false })
    return plan.blobs.map((planned) => planned.complete)
  }
  // The list goes out behind the plan; what is asked for after that sees it.
  const told = async () => {
    while ((await complete()).at(-1) !== 1) await ask(holder, { want: false })
  }
  await told()
  assert.deepEqual(await complete(), [1, 1, 1])
  const lost = [eventOf(holder.directory, 'down'), eventOf(asker.directory, 'down')]
  await fleet.stopTracker()
  await Promise.all(lost)
  const [gone] = held.splice(0, 1)
  assert.ok(gone)
  holder.directory.announce({ add: [], drop: [gone.digest] })
  const back = [eventOf(holder.directory, 'up'), eventOf(asker.directory, 'up')]
  await fleet.restartTracker()
  await Promise.all(back)
  await told()
  const plan = await asker.directory.plan({ scope: SCOPE, blobs: [{ digest: gone.digest }], origin: false, want: false })
  assert.equal(plan.blobs[0]?.complete, 0)
})

test('the next tracker of the list is used when the first is gone', async () => {
  await using first = await TestFleet.start()
  await using second = await TestFleet.start()
  const member = await first.join({ trackers: [first.address, second.address] })
  const up = eventOf(member.directory, 'up')
  if (!member.directory.connected) await up
  const again = eventOf(member.directory, 'up')
  await first.stopTracker()
  await again
  assert.ok((await ask(member)).blobs[0]?.leases.every(({ by }) => by === second.tracker.id))
})

test('a host that is gone gives its leases back at once', async () => {
  await using fleet = await TestFleet.start()
  const one = await fleet.join()
  const others = await Promise.all(Array.from({ length: 8 }, () => fleet.join()))
  const runs = (await ask(one)).blobs[0]?.leases.map(({ run }) => run) ?? []
  for (const member of others) await ask(member)
  const taken = Promise.race(
    others.map(({ directory }) => eventOf(directory, 'leases', ({ grant }) => grant.some(({ run }) => runs.includes(run))))
  )
  await one.directory[Symbol.asyncDispose]()
  assert.ok((await taken).grant.every(({ instead }) => instead === one.node.id))
})

test('without an id in its address the tracker is remembered, and another one there is announced loudly', async () => {
  await using fleet = await TestFleet.start()
  const warnings: { msg: string; before?: string; now?: string }[] = []
  const log = warningsTo((line) => warnings.push(JSON.parse(line)))
  const address = fleet.address.replace(/\/p2p\/.*/, '')
  const first = fleet.tracker.id
  const member = await fleet.join({ trackers: [address], log })
  if (!member.directory.connected) await eventOf(member.directory, 'up')
  const lost = eventOf(member.directory, 'down')
  await fleet.stopTracker()
  await lost
  const back = eventOf(member.directory, 'up')
  await fleet.restartTracker({ renewed: true })
  await back
  const warning = warnings.find(({ msg }) => msg.startsWith('ANOTHER TRACKER'))
  assert.deepEqual([warning?.before, warning?.now], [first, fleet.tracker.id])
  assert.ok(member.directory.trusted.has(fleet.tracker.id))
  assert.equal((await TrackerPins.open(member.dataDir, silent)).get(address), fleet.tracker.id)
})

interface MuteOptions {
  readonly protocol?: string
  readonly welcome?: boolean
}

/** A directory client under virtual time, before something that accepts its stream and says no more than welcome. */
async function beforeMuteTracker(
  options: MuteOptions,
  body: (at: { directory: TrackerDirectory; clock: ManualClock; lines: string[] }) => Promise<void>
) {
  await using parts = new AsyncDisposableStack()
  const listen = { host: '127.0.0.1', port: 0 }
  const tracker = parts.use(await createNode({ identity: await newIdentity(), version: 'test', listen }, { log: silent }))
  await tracker.handle(options.protocol ?? DIRECTORY_PROTOCOL, { maxMessage: 1024 * 1024 }, (stream) => {
    stream.start({ onMessage: () => undefined, onClose: () => undefined })
    if (options.welcome !== false) stream.send({ t: 'welcome', version: 'test', observed: '' })
  })
  const dir = await mkdtemp(join(tmpdir(), 'layerswarm-directory-'))
  parts.defer(() => rm(dir, { recursive: true, force: true }))
  const lines: string[] = []
  const log = warningsTo((line) => lines.push(line))
  const node = parts.use(await createNode({ identity: await newIdentity(), version: 'test' }, { log: silent }))
  const clock = new ManualClock()
  const knownPeers = parts.use(await KnownPeers.open(dir, { clock, log }))
  const snapshot = async function* () {}
  const deps = { node, clock, log, random: () => 0.5, knownPeers, pins: await TrackerPins.open(dir, log), snapshot, partials: () => [] }
  const self = { name: 'host', version: 'test', port: 0, addrs: [] }
  const directory = parts.use(new TrackerDirectory(deps, { trackers: [`${tracker.addresses[0]}/p2p/${tracker.id}`], self }))
  await body({ directory, clock, lines })
}

test('a plan that does not come is given up after 1.5 s', async () => {
  await beforeMuteTracker({}, async ({ directory, clock }) => {
    const up = eventOf(directory, 'up')
    directory.start()
    await up
    const plan = directory.plan({ scope: SCOPE, blobs: [blob], origin: true, want: true })
    const refused = assert.rejects(plan, (error) => isLayerswarmError(error, 'TRACKER_UNREACHABLE'))
    await clock.runUntil(refused, 1600)
    assert.equal(clock.now(), 1500)
    assert.equal(directory.connected, true, 'its connection is left to those who watch connections')
  })
})

test('a plan that is waited for no longer is no plan', async () => {
  await beforeMuteTracker({}, async ({ directory }) => {
    const up = eventOf(directory, 'up')
    directory.start()
    await up
    const stop = new AbortController()
    const plan = directory.plan({ scope: SCOPE, blobs: [blob], origin: true, want: true }, { signal: stop.signal })
    stop.abort(new Error('the client left'))
    await assert.rejects(plan, /the client left/)
  })
})

test('something that speaks another version is named as such, with a remedy, once', async () => {
  await beforeMuteTracker({ protocol: '/layerswarm/directory/99' }, async ({ directory, clock, lines }) => {
    directory.start()
    while (lines.length === 0) await turn()
    await clock.advance(1000)
    assert.equal(lines.length, 1)
    assert.match(lines[0] ?? '', /no protocol version in common.*upgrade the older host/)
    await assert.rejects(directory.plan({ scope: SCOPE, blobs: [blob], origin: true, want: true }), (error) =>
      isLayerswarmError(error, 'TRACKER_UNREACHABLE')
    )
  })
})
