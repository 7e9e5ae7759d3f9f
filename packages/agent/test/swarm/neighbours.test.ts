import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { BLOB, digestNamed, of, range, TestHost } from './test-host.ts'

const named = (...ids: string[]) => ids.map((id) => ({ id, addrs: [], name: id }))

/** A host that knows so many from an image that it has fetched, and fetches another now. */
function withOldNeighbours(count: number): TestHost {
  const host = new TestHost()
  host.open(4, { blob: digestNamed('earlier') })
  host.up(...range(0, count).map((i) => `old${i}`))
  host.has('old0', range(0, 4), { blob: digestNamed('earlier') })
  for (const piece of range(0, 4)) host.landed(piece, 'old0', digestNamed('earlier'))
  host.step({ type: 'close', blob: digestNamed('earlier') })
  host.pass(1000)
  host.open(64)
  return host
}

function dialled(host: TestHost, ...ids: string[]): string[] {
  return of(host.step({ type: 'peers', peers: named(...ids) }), 'connect').map(({ peer }) => peer.id)
}

describe('neighbours', () => {
  test('that are named are dialled: not this host, none that it has, and no more than twenty', () => {
    const host = new TestHost()
    host.up(...range(0, 18).map((i) => `p${i}`))
    assert.deepEqual(dialled(host, 'me', 'p3', 'x', 'y', 'z'), ['x', 'y'])
  })

  test('of an earlier image that have no part in this one stand in nobody’s way', () => {
    const host = withOldNeighbours(20)
    assert.deepEqual(dialled(host, 'x', 'y'), ['x', 'y'])
    const asked = of(host.pass(400), 'tell').map(({ note }) => note)
    assert.deepEqual(asked, [{ t: 'peers', blob: BLOB, live: 0 }])
  })

  test('of an earlier image count once they have or fetch some of this one', () => {
    const host = withOldNeighbours(20)
    for (const i of range(0, 10)) host.has(`old${i}`, [i])
    for (const i of range(10, 9)) host.step({ type: 'up', peer: `old${i}`, blob: BLOB })
    assert.deepEqual(dialled(host, 'x', 'y'), ['x'])
  })
})
