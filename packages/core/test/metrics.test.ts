import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createAgentMetrics, createMetricsRegistry, createTrackerMetrics } from '../src/metrics.ts'

test("the agent's metrics carry the pinned names and labels", async () => {
  const registry = createMetricsRegistry({ process: false })
  const metrics = createAgentMetrics(registry)
  metrics.bytes.inc({ direction: 'in', source: 'peer' }, 42)
  metrics.requests.inc({ kind: 'blob', result: 'hit', source: 'local' })
  metrics.pieceFailures.inc({ reason: 'hash' })
  metrics.pullSeconds.observe(1)
  metrics.firstByteSeconds.observe(0.004)
  metrics.storeBytes.set({ state: 'complete' }, 7)
  metrics.peers.set({ state: 'connected' }, 3)
  metrics.registryRequests.inc({ registry: 'docker.io', status: '200' })
  const text = await registry.metrics()
  for (const line of [
    'layerswarm_bytes_total{direction="in",source="peer"} 42',
    'layerswarm_requests_total{kind="blob",result="hit",source="local"} 1',
    'layerswarm_piece_failures_total{reason="hash"} 1',
    'layerswarm_pull_seconds_count 1',
    'layerswarm_first_byte_seconds_bucket{le="0.005"} 1',
    'layerswarm_store_bytes{state="complete"} 7',
    'layerswarm_peers{state="connected"} 3',
    'layerswarm_registry_requests_total{registry="docker.io",status="200"} 1'
  ]) {
    assert.ok(text.includes(`${line}\n`), line)
  }
})

test("the tracker's metrics carry the pinned names and labels", async () => {
  const registry = createMetricsRegistry({ process: false })
  const metrics = createTrackerMetrics(registry)
  metrics.hosts.set({ state: 'connected' }, 2)
  metrics.leases.set({ state: 'held' }, 5)
  metrics.planSeconds.observe(0.0003)
  metrics.fleetEgressRatio.set(1.02)
  const text = await registry.metrics()
  for (const line of [
    'layerswarm_hosts{state="connected"} 2',
    'layerswarm_leases{state="held"} 5',
    'layerswarm_plan_seconds_bucket{le="0.0005"} 1',
    'layerswarm_fleet_egress_ratio 1.02'
  ]) {
    assert.ok(text.includes(`${line}\n`), line)
  }
})

test('two daemons in one process do not mix, and process metrics come by default', async () => {
  const one = createMetricsRegistry()
  const two = createMetricsRegistry()
  createAgentMetrics(one).bytes.inc({ direction: 'in', source: 'peer' }, 1)
  createAgentMetrics(two)
  assert.match(await one.metrics(), /process_resident_memory_bytes \d+/)
  assert.doesNotMatch(await two.metrics(), /layerswarm_bytes_total\{/)
})
