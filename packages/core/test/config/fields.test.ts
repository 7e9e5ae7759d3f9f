import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import {
  hostPort,
  isLoopback,
  listenAddress,
  peerListenAddress,
  peerMultiaddr,
  registryHost,
  toMultiaddr
} from '../../src/config/addresses.ts'
import { type Field, nameText, oneOf, path } from '../../src/config/fields.ts'
import { duration, rate, size } from '../../src/config/quantities.ts'

const SEED = 20260701
const PEER = '12D3KooWGRUfMZ2RHcLbB8TxG6Jz3zbLzMxUCTPNWCvT1tXLBgkH'

function read<T>(field: Field<T>, input: unknown): T | string {
  const result = field.schema.safeParse(input)
  return result.success ? result.data : `refused: ${result.error.issues.map(({ message }) => message).join('; ')}`
}

function readsBack<T>(field: Field<T>, values: fc.Arbitrary<T>): void {
  fc.assert(
    fc.property(values, (value) => assert.deepEqual(read(field, field.format(value)), value)),
    { seed: SEED }
  )
}

describe('size', () => {
  const valid: [string | number, number][] = [
    ['0', 0],
    [12, 12],
    ['12', 12],
    ['12B', 12],
    ['1K', 1000],
    ['1KB', 1000],
    ['1Ki', 1024],
    ['1KiB', 1024],
    ['20GiB', 20 * 2 ** 30],
    ['1.5G', 1_500_000_000],
    ['2.3G', 2_300_000_000],
    ['0.5Ki', 512],
    [' 3T ', 3e12],
    ['2Ti', 2 * 2 ** 40]
  ]
  for (const [text, bytes] of valid) it(`reads ${text}`, () => assert.equal(read(size, text), bytes))

  for (const text of ['', '-1', '1k', '1P', '1 G', 'G', '1iB', '1.', '0x10', '1e3', '0.3', '99999T', 1.5, true, null]) {
    it(`refuses ${JSON.stringify(text)}`, () => assert.match(String(read(size, text)), /^refused: .* is not a size/))
  }

  it('reads back what it writes', () => readsBack(size, fc.maxSafeNat()))
  it('writes the largest unit that fits', () => {
    assert.deepEqual([1_500_000_000, 2 ** 30, 1_000_000, 1001, 0].map(size.format), ['1500M', '1Gi', '1M', '1001', '0'])
  })
})

describe('rate', () => {
  const valid: [string, number][] = [
    ['80Mbit/s', 10_000_000],
    ['10MB/s', 10_000_000],
    ['10M/s', 10_000_000],
    ['1Mi/s', 2 ** 20],
    ['8bit/s', 1],
    ['1.2Gbit/s', 150_000_000]
  ]
  for (const [text, bytes] of valid) it(`reads ${text}`, () => assert.equal(read(rate, text), bytes))

  for (const text of ['80', '80Mbit', '0/s', '0bit/s', '1bit/s', '80mbit/s', '10MB', '/s', 'bit/s', '-1/s']) {
    it(`refuses ${JSON.stringify(text)}`, () => assert.match(String(read(rate, text)), /^refused: .* is not a rate/))
  }

  it('reads back what it writes', () => readsBack(rate, fc.maxSafeNat().filter(Boolean)))
})

describe('duration', () => {
  it('reads and writes back', () => {
    assert.deepEqual(
      ['250ms', '30s', '1.5m', '2h', '1d'].map((text) => read(duration, text)),
      [250, 30_000, 90_000, 7_200_000, 86_400_000]
    )
    readsBack(duration, fc.maxSafeNat())
  })
  for (const text of ['30', '-1s', '1w', 's', '0.1ms']) {
    it(`refuses ${text}`, () => assert.match(String(read(duration, text)), /is not a duration/))
  }
})

describe('HOST:PORT', () => {
  it('reads names and addresses', () => {
    assert.deepEqual(read(hostPort, '127.0.0.1:5050'), { host: '127.0.0.1', port: 5050 })
    assert.deepEqual(read(hostPort, '[2001:DB8::1]:1'), { host: '2001:db8::1', port: 1 })
    assert.deepEqual(read(hostPort, 'Host-1.example.com:65535'), { host: 'host-1.example.com', port: 65535 })
    assert.deepEqual(read(listenAddress, 'localhost:0'), { host: 'localhost', port: 0 })
    assert.deepEqual(read(peerListenAddress, 'localhost:0'), { host: '127.0.0.1', port: 0 })
  })
  for (const text of [
    '5050',
    ':5050',
    'host',
    'host:',
    'host:65536',
    'host:123456',
    'host:-1',
    'ho st:1',
    '::1:5050',
    '[::1]',
    '[host]:1',
    '[127.0.0.1]:1',
    '999.1.1.1:1',
    'http://host:1',
    'host:1/'
  ]) {
    it(`refuses ${text}`, () => assert.match(String(read(listenAddress, text)), /is not HOST:PORT/))
  }
  it('refuses port 0 where others connect to', () => assert.match(String(read(hostPort, 'host:0')), /is not HOST:PORT/))
  it('refuses a name to listen on for peers', () => assert.match(String(read(peerListenAddress, 'host:1')), /with an IP address/))
  it('reads back what it writes', () => {
    const host = fc.oneof(fc.ipV4(), fc.constant('::1'), fc.constant('2001:db8::7'), fc.constant('a.example.com'))
    readsBack(listenAddress, fc.record({ host, port: fc.nat(65535) }, { noNullPrototype: true }))
  })
  it('knows loopback', () => {
    const inside = ['127.0.0.1', '127.8.9.10', '::1', 'localhost']
    const outside = ['0.0.0.0', '::', '10.0.0.1', '128.0.0.1', '2001:db8::1', 'localhost.example.com']
    assert.deepEqual(inside.filter(isLoopback), inside)
    assert.deepEqual(outside.filter(isLoopback), [])
  })
  it('has a libp2p form that is read as one', () => {
    for (const host of ['192.0.2.1', '2001:db8::1', 'tracker.example.com']) {
      const address = toMultiaddr({ host, port: 5060 })
      assert.equal(read(peerMultiaddr, address), address)
    }
  })
})

describe('multiaddr', () => {
  for (const text of ['/ip4/192.0.2.1/tcp/5060', `/ip4/192.0.2.1/tcp/5060/p2p/${PEER}`, `/dns4/tracker.example.com/tcp/1/p2p/${PEER}`]) {
    it(`reads ${text}`, () => assert.equal(read(peerMultiaddr, text), text))
  }
  for (const text of [
    '',
    '192.0.2.1:5060',
    '/ip4/192.0.2.1',
    '/ip4/192.0.2.1/udp/1',
    '/ip4/1.2.3.4/tcp/1/ws',
    '/ip4/x/tcp/1',
    `/p2p/${PEER}`
  ]) {
    it(`refuses ${JSON.stringify(text)}`, () => assert.match(String(read(peerMultiaddr, text)), /is not a TCP multiaddr/))
  }
})

describe('registry host', () => {
  for (const [text, host] of [
    ['docker.io', 'docker.io'],
    ['Registry.Example.com:5000', 'registry.example.com:5000'],
    ['127.0.0.1:5000', '127.0.0.1:5000'],
    ['[::1]:5000', '[::1]:5000'],
    ['localhost', 'localhost']
  ] as const) {
    it(`reads ${text}`, () => assert.equal(read(registryHost, text), host))
  }
  for (const text of ['', 'https://docker.io', 'docker.io/library', 'a b', 'host:0', 'host:x']) {
    it(`refuses ${JSON.stringify(text)}`, () => assert.match(String(read(registryHost, text)), /is not a registry/))
  }
})

it('reads names, paths and choices', () => {
  assert.equal(read(nameText, 'Host 1 ü'), 'Host 1 ü')
  assert.match(String(read(nameText, 'a\nb')), /printable/)
  assert.match(String(read(nameText, '')), /printable/)
  assert.equal(read(path('DIR'), '/a/../b'), '/b')
  assert.equal(read(path('DIR'), 'b'), `${process.cwd()}/b`)
  assert.match(String(read(path('FILE'), '')), /is not a path/)
  assert.equal(read(oneOf(['on', 'off']), 'off'), 'off')
  assert.equal(read(oneOf(['on', 'off']), 'of'), 'refused: "of" is not one of on, off')
})
