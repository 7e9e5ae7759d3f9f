import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isLayerswarmError } from '@layerswarm/core/errors.ts'
import { chooseHosts } from '../../src/seeds/choose.ts'
import { ABSENT_MS, type KnownHost } from '../../src/seeds/model.ts'

function hostNamed(name: string, zone = '', leftAt?: number, expected = false): KnownHost {
  return { id: `id-${name}`, name, zone, takesSeeds: true, leftAt, expected }
}

const FLEET = [
  ...[1, 2, 3, 4, 5, 6].map((n) => hostNamed(`host-${n}`, 'eu')),
  ...[7, 8].map((n) => hostNamed(`host-${n}`, 'us')),
  hostNamed('host-10', 'us', 5)
]

function choose(hosts: readonly string[], image = 'r.test/app:v1', fleet: readonly KnownHost[] = FLEET, now = 10): string[] {
  return chooseHosts({ image, hosts, platforms: undefined }, fleet, now).map(({ name }) => name)
}

test('all, a zone, names and ids; those that left lately included', () => {
  assert.deepEqual(choose(['all']).length, 9)
  assert.deepEqual(choose(['zone:us']), ['host-7', 'host-8', 'host-10'])
  assert.deepEqual(choose(['host-2', 'id-host-1', 'name:host-10', 'host-2']), ['host-1', 'host-2', 'host-10'])
  assert.deepEqual(choose(['zone:us', 'host-1', 'elsewhere']), ['elsewhere', 'host-1', 'host-7', 'host-8', 'host-10'])
})

test('a number or share is of those that are connected: the same for the same image, other ones for others, across zones', () => {
  const four = choose(['4'])
  assert.equal(four.length, 4)
  assert.deepEqual(choose(['4'], 'r.test/app:v1', [...FLEET].reverse()), four)
  assert.equal(four.filter((name) => ['host-7', 'host-8'].includes(name)).length, 2, 'as many of each zone')
  const others = new Set(['a', 'b', 'c', 'd', 'e', 'f'].map((image) => choose(['zone:eu', '1'], image)[0]))
  assert.ok(others.size > 1)
  assert.equal(choose(['25%']).length, 2)
  assert.equal(choose(['1%']).length, 1)
  assert.equal(choose(['100%']).length, 8)
  assert.deepEqual(choose(['zone:us', '50%']).length, 1)
})

test('hosts that a tracker expects back after its start count as there, for a while', () => {
  const fleet = [1, 2, 3, 4].map((n) => hostNamed(`host-${n}`, '', 0, true))
  const known = [hostNamed('host-9'), ...fleet]
  for (const [hosts, count] of [
    ['5', 5],
    ['40%', 2],
    ['all', 5]
  ] as const) {
    assert.equal(choose([hosts], 'r.test/app:v1', known, ABSENT_MS - 1).length, count, hosts)
  }
  assert.equal(choose(['40%'], 'r.test/app:v1', known, ABSENT_MS).length, 1)
  assert.equal(choose(['all'], 'r.test/app:v1', known, ABSENT_MS).length, 5)
})

test('nobody, or fewer than asked for, is an error', () => {
  for (const [hosts, code] of [
    [['zone:none'], 'HOSTS_UNKNOWN'],
    [['9'], 'HOSTS_UNKNOWN'],
    [['zone:us', '3'], 'HOSTS_UNKNOWN'],
    [['0'], 'HOSTS_INVALID'],
    [['101%'], 'HOSTS_INVALID'],
    [['2', '50%'], 'HOSTS_INVALID'],
    [['all', 'host-1'], 'HOSTS_INVALID'],
    [['zone:'], 'HOSTS_INVALID'],
    [['a\nb'], 'HOSTS_INVALID']
  ] as const) {
    assert.throws(
      () => choose(hosts),
      (error) => isLayerswarmError(error, code),
      hosts.join(' ')
    )
  }
  assert.throws(
    () => choose(['all'], 'r.test/app:v1', []),
    (error) => isLayerswarmError(error, 'HOSTS_UNKNOWN')
  )
})
