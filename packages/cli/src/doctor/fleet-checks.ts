import { createHash } from 'node:crypto'
import { KnownPeers } from '@layerswarm/agent/directory/known-peers.ts'
import { systemClock } from '@layerswarm/core/clock.ts'
import { type HostPort, isLoopback } from '@layerswarm/core/config/addresses.ts'
import { describeError } from '@layerswarm/core/errors.ts'
import { createLogger } from '@layerswarm/core/log.ts'
import { noisePrologue, readClusterKey } from '@layerswarm/core/p2p/cluster-key.ts'
import { newIdentity } from '@layerswarm/core/p2p/identity.ts'
import { createNode } from '@layerswarm/core/p2p/node.ts'
import { VERSION } from '@layerswarm/core/version.ts'
import { accepts, type Finding, ok, problem, unknown } from './finding.ts'

/** Enough to tell one host that is down from a port that is closed everywhere. */
const MAX_PEERS = 8
const MAX_ADDRESSES = 3

const log = createLogger({ name: 'doctor', level: 'silent', format: 'json' })

export interface KeyCheck {
  readonly finding: Finding
  readonly key: Uint8Array | undefined
}

/** Shows a fingerprint, so that two hosts can be compared without showing the key. */
export async function checkClusterKey(file: string | undefined): Promise<KeyCheck> {
  if (file === undefined) return { finding: ok('cluster-key', 'no cluster key: this host shares with no other'), key: undefined }
  try {
    const { key, warning } = await readClusterKey(file)
    const text = `the cluster key ${file} has the fingerprint ${fingerprint(key)}, as on every host of the fleet`
    if (warning === undefined) return { finding: ok('cluster-key', text), key }
    return { finding: problem('cluster-key', `other users can read ${file}`, `run: chmod 600 ${file}`), key }
  } catch (error) {
    const remedy = "copy the fleet's key to this file, readable by root only; a new fleet makes one with: layerswarm cluster-key new"
    return { finding: problem('cluster-key', describeError(error), remedy), key: undefined }
  }
}

function fingerprint(key: Uint8Array): string {
  return createHash('sha256').update(noisePrologue(key)).digest('hex').slice(0, 8)
}

/** Connects to each tracker as the agent would: a host with another key is told apart from one that is not there. */
export async function checkTrackers(trackers: readonly string[], key: Uint8Array | undefined): Promise<readonly Finding[]> {
  if (trackers.length === 0) return [ok('tracker', 'no tracker is configured: this host finds no others')]
  await using node = await createNode({ identity: await newIdentity(), version: VERSION, ...(key && { clusterKey: key }) }, { log })
  return await Promise.all(
    trackers.map(async (address) => {
      const place = parse(address)
      if (!(await accepts(place.host, place.port))) {
        return problem(
          'tracker',
          `nobody answers at the tracker's address ${address}`,
          `start the tracker, check the address, and let this host reach TCP port ${place.port} there; pulls go on without it`
        )
      }
      try {
        await node.connect([address.replace(/\/p2p\/.*$/, '')], place.id === undefined ? {} : { peer: place.id })
        return ok('tracker', `the tracker ${address} answers`)
      } catch {
        const about = key === undefined ? 'has a cluster key, or another id' : 'has another cluster key, or another id'
        return problem(
          'tracker',
          `what answers at ${address} ${about}, or is no tracker`,
          'give both the same key file and restart them (compare the fingerprints that doctor shows on both), and check the /p2p/ID in --tracker'
        )
      }
    })
  )
}

/** Whether other hosts can be reached, which says much of whether they reach this one. */
export async function checkPeers(dataDir: string, listen: HostPort, trackers: readonly string[]): Promise<Finding> {
  const distant = trackers.find((address) => !isLoopback(parse(address).host))
  if (isLoopback(listen.host) && distant !== undefined) {
    return problem(
      'peers',
      `other hosts cannot connect: p2p-listen is ${listen.host}`,
      'give this host the cluster key, and no --p2p-listen on loopback'
    )
  }
  await using known = await KnownPeers.open(dataDir, { clock: systemClock, log })
  const peers = known.all().slice(0, MAX_PEERS)
  if (peers.length === 0) return unknown('peers', 'no other host is known yet')
  const reached = await Promise.all(peers.map(({ addrs }) => reachesAny(addrs.slice(0, MAX_ADDRESSES).map(parse))))
  const count = reached.filter(Boolean).length
  if (count > 0) return ok('peers', `${count} of the ${peers.length} hosts last heard of can be reached`)
  return problem(
    'peers',
    `none of the ${peers.length} hosts last heard of can be reached`,
    `open TCP port ${listen.port} between the hosts in every firewall on the way, and check what --announce tells them`
  )
}

async function reachesAny(places: readonly HostPort[]): Promise<boolean> {
  return (await Promise.all(places.map(({ host, port }) => accepts(host, port)))).some(Boolean)
}

/** Of `/ip4/HOST/tcp/PORT[/p2p/ID]`, which configuration and wire formats have checked. */
function parse(address: string): HostPort & { readonly id: string | undefined } {
  const [, , host = '', , port, , id] = address.split('/')
  return { host, port: Number(port), id }
}
