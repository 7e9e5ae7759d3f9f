import assert from 'node:assert/strict'
import { it } from 'node:test'
import { resolveConfig } from '@layerswarm/core/config/load.ts'
import { trackerOptions } from '../src/config.ts'

const facts = { env: {}, root: true, home: '/root', hostname: 'host-1', terminal: true }

it('listens beyond loopback only with a cluster key', () => {
  const { config } = resolveConfig(trackerOptions, { facts })
  assert.deepEqual(config, {
    p2pListen: { host: '127.0.0.1', port: 5060 },
    httpListen: { host: '127.0.0.1', port: 5061 },
    dataDir: '/var/lib/layerswarm',
    clusterKey: undefined,
    logLevel: 'info',
    logFormat: 'pretty'
  })
  assert.equal(resolveConfig(trackerOptions, { facts, flags: { clusterKey: '/key' } }).config.p2pListen.host, '0.0.0.0')
  const open = { p2pListen: '0.0.0.0:5060' }
  assert.throws(() => resolveConfig(trackerOptions, { facts, flags: open }), { code: 'CLUSTER_KEY_NEEDED' })
})
