// needs: openssl
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '@layerswarm/core/digest.ts'
import { MEDIA_TYPES } from '@layerswarm/core/image/manifest.ts'
import { fixtureBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { LyingPeer } from '@layerswarm/testkit/lying-peer.ts'
import { TestAuthority } from '@layerswarm/testkit/test-authority.ts'
import type { FleetView } from '@layerswarm/tracker/state/fleet-view.ts'
import { Agents } from './agents.ts'

const MIB = 1024 * 1024
const NAME = 'team/app'
/** Attempts of a client: containerd makes several too. */
const ATTEMPTS = 4

/** An image of one layer, in the registry. */
async function publish({ registry }: Agents, layer: ReturnType<typeof fixtureBlob>): Promise<void> {
  const config = Buffer.from('{}')
  for (const bytes of [config, layer.bytes]) await registry.putBlob(NAME, bytes)
  const manifest = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociManifest,
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: digestOf(config), size: config.byteLength },
    layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: layer.digest, size: layer.layout.size }]
  }
  registry.putManifest(NAME, 'v1', Buffer.from(JSON.stringify(manifest)), MEDIA_TYPES.ociManifest)
}

async function pull(agents: Agents, agent: number, layer: ReturnType<typeof fixtureBlob>): Promise<number> {
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    try {
      const { status, body } = await agents.ask(agent, `${NAME}/blobs/${layer.digest}`)
      if (status === 200) {
        assert.equal(digestOf(body), layer.digest, 'a client was given false bytes as a whole')
        return attempt
      }
    } catch (error) {
      // The cut that keeps false bytes from a client.
      if ((error as NodeJS.ErrnoException).code !== 'ECONNRESET') throw error
    }
  }
  return assert.fail('the layer did not come')
}

async function distrusted(agents: Agents): Promise<string[]> {
  const { hosts } = (await (await fetch(`${agents.tracker.httpUrl}/v1/fleet`)).json()) as FleetView
  return hosts.filter((host) => host.distrusted === true).map(({ id }) => id)
}

test('a host that vouches for false bytes is found out by those it deceived, and they get the image', { timeout: 60_000 }, async (t) => {
  await using authority = await TestAuthority.create()
  await using agents = await Agents.start(2, [], { authority })
  const layer = fixtureBlob(8 * MIB)
  await publish(agents, layer)
  for (const agent of [0, 1]) assert.equal((await agents.ask(agent, `${NAME}/manifests/v1`)).status, 200)

  await using liar = await LyingPeer.start({ blobs: [layer], lie: 'false-claim' })
  const leases = await liar.takeLeases(agents.tracker.p2p[0] ?? '', layer)
  assert.ok(leases.length > 0)
  const attempts = await Promise.all([0, 1].map((agent) => pull(agents, agent, layer)))
  assert.ok(liar.asked.length > 0)
  await agents.trackerLog.line('vouched for false bytes')
  assert.deepEqual(await distrusted(agents), [liar.id])
  const copies = agents.registry.log.requests({ kind: 'blob' }).reduce((sum, { bytes }) => sum + bytes, 0) / layer.layout.size
  t.diagnostic(`${attempts.join(' and ')} attempts, ${copies.toFixed(2)} copies of the layer left the registry`)
  assert.ok(Math.max(...attempts) > 1, 'nobody was deceived')
})
