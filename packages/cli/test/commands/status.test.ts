import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { it } from 'node:test'
import type { AgentStatus } from '@layerswarm/core/api/status-api.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { askAgent } from '../../src/agent-client.ts'
import { statusText } from '../../src/commands/status.ts'
import { runCommand } from '../run-command.ts'

const STATUS: AgentStatus = {
  id: '12D3KooWGRUfN3qrhWP2Zb4qZ4G1r9Q1xYzJbYv2s6V5m1q3t7uA',
  name: 'host-1',
  version: '0.1.0',
  seconds: 7300,
  tracker: { connected: true, configured: 1 },
  peers: 11,
  store: { complete: { blobs: 12, bytes: 3_400_000_000 }, partial: { blobs: 1, bytes: 1_000_000 }, bound: 80_000_000_000 },
  transfers: []
}
const TRANSFER: AgentStatus['transfers'][number] = {
  digest: `sha256:${'ab'.repeat(32)}` as Digest,
  repository: 'registry.example.com/team/app',
  size: 100_000_000,
  counts: { local: 10_000_000, peer: 40_000_000, registry: 10_000_000 },
  seconds: 10,
  waiting: 1,
  sources: { peers: 8, requests: 32, registry: 2, leases: 3 },
  order: 'leases'
}

it('says what is fetched, from where, how fast, and on whose word', () => {
  const lines = statusText({ ...STATUS, transfers: [TRANSFER] }).split('\n')
  assert.deepEqual(lines, [
    'host-1, version 0.1.0, for 2 h',
    `id       ${STATUS.id}`,
    'tracker  connected',
    'peers    11 connected',
    'store    3.40 GB of 80.0 GB: 12 blobs, 1 in part',
    'fetching 1 blob:',
    '  abababababab  60 % of 100.0 MB  registry.example.com/team/app',
    '    peers     4.00 MB/s  8 hosts with some of it, 32 pieces asked for',
    '    registry  1.00 MB/s  2 connections, 3 leases',
    '    1 client waiting',
    ''
  ])
  assert.ok(lines.every((line) => line.length <= 80))
})

it('says what holds transfers back', () => {
  const text = statusText({ ...STATUS, limits: { upload: 3_000_000, registry: 500_000 } })
  assert.match(text, /\nlimits {3}upload 3.00 MB\/s, registry 500.0 kB\/s\n/)
  assert.doesNotMatch(statusText({ ...STATUS, limits: {} }), /limits/)
})

it('says why nothing comes from the registry, or why all of it does', () => {
  const waiting = { ...TRANSFER, sources: { peers: 3, requests: 4, registry: 0, leases: 0 } }
  assert.match(statusText({ ...STATUS, transfers: [waiting] }), /registry .* left to other hosts, 0 leases\n/)
  const alone = { ...waiting, order: 'own' as const }
  const text = statusText({ ...STATUS, tracker: { connected: false, configured: 1 }, peers: 0, transfers: [alone] })
  assert.match(text, /tracker {2}not connected: this host goes by what it knows of its peers\npeers {4}none connected\n/)
  assert.match(text, /idle, 0 leases; no tracker deals them out\n/)
  assert.match(
    statusText({ ...STATUS, tracker: { connected: false, configured: 0 } }),
    /none configured.*\n(?:.*\n){2}nothing is being fetched\n$/
  )
})

it('needs an agent', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  server.close()
  await once(server, 'close')
  const { code, stderr } = await runCommand(['status', '--agent', url])
  assert.equal(stderr.split('\n')[0], `error: this host's agent cannot be reached: ${url}`)
  assert.match(stderr, /^fix: start it with/m)
  assert.equal(code, 1)
})

it('asks an agent on any port, those that browsers keep from pages too', async () => {
  const agent = new URL('http://127.0.0.1:1')
  assert.equal(await askAgent(agent, '/', { signal: AbortSignal.timeout(5_000) }), undefined, 'nobody is there, which is no failure')
})
