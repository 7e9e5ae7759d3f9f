import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe, test } from 'node:test'
import type { DirectoryNote, PeerDirectory, Plan } from '@layerswarm/agent/ports.ts'
import { verifyLease } from '@layerswarm/core/claims.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { isLayerswarmError } from '@layerswarm/core/errors.ts'
import { layoutOf, RUN_PIECES } from '@layerswarm/core/piece-layout.ts'
import type { Holding } from '@layerswarm/core/wire/directory-protocol.ts'

const SCOPE = 'docker.io/library/app'
/** Sixteen runs. */
const SIZE = 32 * 1024 * 1024

/** A fleet whose hosts share a directory. */
export interface DirectoryFleet extends AsyncDisposable {
  /** A new host, connected if that is ever possible. @returns its directory and peer id */
  host(): Promise<{ readonly directory: PeerDirectory; readonly id: string }>
}

function blobNamed(name: string): Holding {
  return { digest: `sha256:${createHash('sha256').update(name).digest('hex')}` as Digest, size: SIZE }
}

function ask(directory: PeerDirectory, blob: Holding, options: { origin?: boolean; want?: boolean } = {}) {
  const { origin = true, want = true } = options
  return directory.plan({ scope: SCOPE, blobs: [{ digest: blob.digest, size: blob.size }], origin, want })
}

/** What holds for every directory, also for one that knows nobody. */
export function anyDirectory(name: string, start: () => Promise<DirectoryFleet>): void {
  describe(`${name}: any directory`, () => {
    test('what is told to it never throws', async () => {
      await using fleet = await start()
      const { directory } = await fleet.host()
      const { digest, size } = blobNamed('any')
      directory.announce({ add: [{ digest, size }], drop: [digest] })
      directory.tell({ t: 'report', blob: digest, got: [1], spread: [], bytes: 5 })
      directory.tell({ t: 'partial', blob: digest, size, bits: new Uint8Array(16), leases: [] })
      directory.tell({ t: 'release', blob: digest, runs: [0], reason: 'failed', bar: false })
      directory.tell({ t: 'cancel', blob: digest })
    })

    test('a plan is refused with the signal, or without a tracker', async () => {
      await using fleet = await start()
      const { directory } = await fleet.host()
      const signal = AbortSignal.abort(new Error('enough'))
      const plan = directory.plan({ scope: SCOPE, blobs: [{ digest: blobNamed('any').digest }], origin: true, want: true }, { signal })
      await assert.rejects(plan, (error: Error) => error.message === 'enough' || isLayerswarmError(error, 'TRACKER_UNREACHABLE'))
    })

    test('reading events ends with the signal', async () => {
      await using fleet = await start()
      const { directory } = await fleet.host()
      const stop = new AbortController()
      const reading = Array.fromAsync(directory.events({ signal: stop.signal }))
      stop.abort(new Error('enough'))
      await assert.rejects(reading, /enough/)
    })
  })
}

/** What a directory with a tracker behind it does besides. */
export function connectedDirectory(name: string, start: () => Promise<DirectoryFleet>): void {
  anyDirectory(name, start)
  describe(`${name}: connected`, () => {
    test('content that nobody has is unknown, and its asker gets signed leases from a trusted tracker', async () => {
      await using fleet = await start()
      const { directory, id } = await fleet.host()
      assert.equal(directory.connected, true)
      const plan = await ask(directory, blobNamed('new'))
      assert.deepEqual(plan.peers, [])
      const [planned] = plan.blobs
      assert.deepEqual([planned?.known, planned?.complete, planned?.map], [false, 0, undefined])
      assert.ok(planned !== undefined && planned.leases.length > 0)
      for (const lease of planned.leases) {
        assert.equal(lease.holder, id)
        assert.ok(directory.trusted.has(lease.by))
        assert.equal(verifyLease(lease), true)
      }
    })

    test('no two hosts get the same run, and one that was not let in gets none', async () => {
      await using fleet = await start()
      const hosts = [await fleet.host(), await fleet.host(), await fleet.host()]
      const blob = blobNamed('shared')
      const plans = await Promise.all(hosts.map(({ directory }, i) => ask(directory, blob, { origin: i !== 2 })))
      const runs = plans.map(runsOf)
      assert.equal(new Set(runs.flat()).size, runs.flat().length)
      assert.deepEqual(runs[2], [])
      assert.ok(runs[0] !== undefined && runs[0].length > 0)
    })

    test('what a host announces others find, with its type and scope; what it drops they do not', async () => {
      await using fleet = await start()
      const holder = await fleet.host()
      const asker = await fleet.host()
      const blob = { ...blobNamed('manifest'), mediaType: 'application/vnd.oci.image.manifest.v1+json', scopes: [SCOPE] }
      holder.directory.announce({ add: [blob], drop: [] })
      // Its own question comes after what it said.
      await ask(holder.directory, blob, { want: false })
      const found = await ask(asker.directory, blob, { want: false })
      assert.deepEqual(
        found.peers.map(({ id }) => id),
        [holder.id]
      )
      const [planned] = found.blobs
      assert.deepEqual([planned?.known, planned?.complete, planned?.mediaType, planned?.size], [true, 1, blob.mediaType, SIZE])
      assert.deepEqual(planned?.leases, [])
      holder.directory.announce({ add: [], drop: [blob.digest] })
      await ask(holder.directory, blob, { want: false })
      assert.equal((await ask(asker.directory, blob, { want: false })).blobs[0]?.complete, 0)
    })

    test('progress brings more leases, and leases given back go to others', async () => {
      await using fleet = await start()
      const [first, second] = [await fleet.host(), await fleet.host()]
      const blob = blobNamed('progress')
      const mine = runsOf(await ask(first.directory, blob))
      const more = leasesFor(first.directory)
      first.directory.tell(fetched(blob, mine))
      const granted = await more
      assert.ok(granted.every((run) => !mine.includes(run)))
      const theirs = runsOf(await ask(second.directory, blob))
      first.directory.tell({ t: 'release', blob: blob.digest, runs: granted, reason: 'denied', bar: true })
      assert.deepEqual(runsOf(await ask(first.directory, blob)), [], 'barred')
      const freed = leasesFor(second.directory)
      second.directory.tell(fetched(blob, theirs))
      assert.ok((await freed).includes(mine[0] ?? -1), 'what nobody else had goes first')
    })

    test('every reader of events gets them all', async () => {
      await using fleet = await start()
      const { directory } = await fleet.host()
      const blob = blobNamed('events')
      const runs = runsOf(await ask(directory, blob))
      const [one, two] = [leasesFor(directory), leasesFor(directory)]
      directory.tell(fetched(blob, runs))
      assert.deepEqual(await one, await two)
    })
  })
}

/** The runs leased with a plan of one blob. */
function runsOf({ blobs }: Plan): number[] {
  return blobs[0]?.leases.map(({ run }) => run) ?? []
}

/** The report of a host that has these runs, and that nobody else has. */
function fetched(blob: Holding, runs: readonly number[]): DirectoryNote {
  const got = runs.flatMap((run) => Array.from({ length: RUN_PIECES }, (_, i) => run * RUN_PIECES + i))
  return { t: 'report', blob: blob.digest, got, spread: [], bytes: got.length * layoutOf(blob.size).pieceSize }
}

/** The runs leased next. */
async function leasesFor(directory: PeerDirectory): Promise<number[]> {
  for await (const event of directory.events()) {
    if (event.type === 'leases' && event.grant.length > 0) return event.grant.map(({ run }) => run)
  }
  throw new Error('the events ended')
}
