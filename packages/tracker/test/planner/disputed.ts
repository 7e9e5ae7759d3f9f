import { type Claim, mapRoot } from '@layerswarm/core/claims.ts'
import { blobOfRuns, piecesOf, TestFleet } from './test-fleet.ts'

export const RUNS = 4
export const blob = blobOfRuns(RUNS)
export const other = blobOfRuns(RUNS, 'other')
const pieceHash = (piece: number) => Buffer.alloc(32, piece + 1)
export const map = Buffer.concat(piecesOf(0, 1, 2, 3).map(pieceHash))
export const FALSE = Buffer.alloc(32, 0xee)

/** What `author` signed for a piece; signatures are not the planner's concern. */
export function claim(author: string, piece: number, hash: Uint8Array = pieceHash(piece), of = blob): Claim {
  return { blob: of.digest, first: piece, hashes: hash, author, sig: new Uint8Array(64) }
}

/** Hosts that fetch the blob; the first ones get its runs, fetch and spread them. */
export function fetched(hosts: readonly string[], of = blob): TestFleet {
  const fleet = new TestFleet()
  for (const host of hosts) fleet.ask(host, of)
  for (let run = 0; run < RUNS; run++) for (const host of hosts) fetch(fleet, host, of)
  return fleet
}

/** The host fetches and spreads what it has leases for. */
export function fetch(fleet: TestFleet, host: string, of = blob): void {
  if (!fleet.state.hosts.has(host)) fleet.join(host)
  const runs = fleet.plan(host, [of]).blobs[0]?.leases.map(({ run }) => run) ?? []
  fleet.report(host, of.digest, piecesOf(...runs), piecesOf(...runs))
}

/** Proves the digest with the pieces of a map, and hands that in where it is wanted. */
export function prove(fleet: TestFleet, host: string, hashes: Uint8Array = map, of = blob): void {
  fleet.say(host, { t: 'done', blob: of.digest, size: of.size, root: mapRoot(of.digest, hashes) })
  if (fleet.of(host, 'wantMap').length > 0) fleet.say(host, { t: 'map', blob: of.digest, size: of.size, hashes })
}

export function accuse(fleet: TestFleet, reporter: string, ...claims: Claim[]): void {
  fleet.say(reporter, { t: 'evidence', blob: blob.digest, claims })
}

export const convicted = (fleet: TestFleet) => fleet.convicted.map(({ host }) => host)
