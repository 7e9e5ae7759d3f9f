import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Flags, resolveConfig } from '@layerswarm/core/config/load.ts'
import type { HostFacts, OptionSet } from '@layerswarm/core/config/options.ts'
import { agentOptions, standaloneOptions } from '../src/config.ts'

const facts: HostFacts = { env: {}, root: false, home: '/home/somebody', hostname: 'host-1', terminal: false }

function read<C extends object>(set: OptionSet<C>, flags: Flags = {}, changed: Partial<HostFacts> = {}): C {
  return resolveConfig(set, { flags, facts: { ...facts, ...changed } }).config
}

it('takes credentials from a file, or none at all', () => {
  assert.equal(read(agentOptions, { registryAuth: '/etc/layerswarm/auth.json' }).registryAuth, '/etc/layerswarm/auth.json')
  assert.equal(read(agentOptions, { registryAuth: 'none' }).registryAuth, 'none')
  assert.throws(() => read(agentOptions, { registryAuth: '' }), { code: 'CONFIG_INVALID' })
})

it('has the documented defaults', () => {
  assert.deepEqual(read(agentOptions, {}, { root: true }), {
    mirrorListen: { host: '127.0.0.1', port: 5050 },
    adminListen: { host: '127.0.0.1', port: 5051 },
    p2pListen: { host: '127.0.0.1', port: 5052 },
    tracker: [],
    announce: [],
    name: 'host-1',
    zone: undefined,
    registry: ['docker.io', 'registry.k8s.io', 'ghcr.io', 'quay.io', 'gcr.io'],
    insecureRegistry: [],
    registryAuth: undefined,
    allowPush: false,
    certsDir: ['/etc/containerd/certs.d', '/etc/docker/certs.d', '/etc/containers/certs.d'],
    staleTags: 'host',
    containerdAddress: undefined,
    containerdRoot: undefined,
    keep: 'on',
    uploadLimit: undefined,
    downloadLimit: undefined,
    registryLimit: undefined,
    maxDisk: undefined,
    dataDir: '/var/lib/layerswarm',
    clusterKey: undefined,
    logLevel: 'info',
    logFormat: 'json'
  })
  const { trackerListen, httpListen } = read(standaloneOptions)
  assert.deepEqual([trackerListen.port, httpListen.port], [5060, 5061])
})

it('takes rates as limits, in bytes or bits a second', () => {
  const { uploadLimit, downloadLimit, registryLimit } = read(agentOptions, {
    uploadLimit: '10MB/s',
    downloadLimit: '80Mbit/s',
    registryLimit: '4Mi/s'
  })
  assert.deepEqual([uploadLimit, downloadLimit, registryLimit], [10e6, 10e6, 4 * 2 ** 20])
  for (const wrong of ['10MB', '0/s', '-1MB/s', 'fast']) {
    assert.throws(() => read(agentOptions, { uploadLimit: wrong }), { code: 'CONFIG_INVALID' })
  }
})

it('keeps data of a user who is not root under XDG_DATA_HOME', () => {
  assert.equal(read(agentOptions).dataDir, '/home/somebody/.local/share/layerswarm')
  assert.equal(read(agentOptions, {}, { env: { XDG_DATA_HOME: '/xdg' } }).dataDir, '/xdg/layerswarm')
})

describe('the cluster key', () => {
  it('decides where peers are listened for', () => {
    assert.equal(read(agentOptions).p2pListen.host, '127.0.0.1')
    assert.equal(read(agentOptions, { clusterKey: '/key' }).p2pListen.host, '0.0.0.0')
  })
  for (const address of ['0.0.0.0:5052', '10.0.0.1:0', '[::]:5052']) {
    it(`is needed to listen on ${address}`, () => {
      assert.throws(() => read(agentOptions, { p2pListen: address }), { code: 'CLUSTER_KEY_NEEDED', remedy: /layerswarm cluster-key new/ })
      assert.throws(() => read(standaloneOptions, { trackerListen: address }), { code: 'CLUSTER_KEY_NEEDED', detail: /--tracker-listen/ })
      assert.ok(read(standaloneOptions, { p2pListen: address, trackerListen: address, clusterKey: '/key' }))
    })
  }
  it('is not needed on loopback', () => assert.equal(read(agentOptions, { p2pListen: '[::1]:0' }).p2pListen.host, '::1'))
  it("stands in for the tracker's id", () => {
    const tracker = ['/ip4/192.0.2.1/tcp/5060']
    assert.throws(() => read(agentOptions, { tracker }), { code: 'CONFIG_INVALID', detail: /needs the tracker's id/ })
    assert.deepEqual(read(agentOptions, { tracker, clusterKey: '/key' }).tracker, tracker)
  })
})

it('lets --registry replace the default list and --insecure-registry imply it', () => {
  assert.deepEqual(read(agentOptions, { registry: ['a.example'] }).registry, ['a.example'])
  assert.deepEqual(read(agentOptions, { insecureRegistry: ['b.example:1'] }).registry, ['b.example:1'])
  const both = read(agentOptions, { registry: ['a.example', 'b.example'], insecureRegistry: ['b.example'] })
  assert.deepEqual([both.registry, both.insecureRegistry], [['a.example', 'b.example'], ['b.example']])
})
