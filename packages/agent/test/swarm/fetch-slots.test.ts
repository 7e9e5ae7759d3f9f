import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createFetchSlots, FIRST_SLOTS, noteFirstPiece } from '../../src/swarm/fetch-slots.ts'
import { digestNamed, lease, of, range, TestHost } from './test-host.ts'

const LAYERS = range(0, 12).map((i) => digestNamed(`layer ${i}`))

/** A host that is to fetch many layers of one piece each. */
function layered(): TestHost {
  const host = new TestHost()
  for (const blob of LAYERS) host.open(1, { blob })
  for (const blob of LAYERS) host.step({ type: 'leases', blob, grant: [lease(0, { blob })], revoke: [] })
  return host
}

const fetching = (host: TestHost) => LAYERS.filter((blob) => host.blob(blob).fetches.length > 0)

/** The registry brings the oldest request's layer whole. */
function bring(host: TestHost): void {
  const [blob] = fetching(host)
  assert.ok(blob)
  const fetch = host.blob(blob).fetches[0]?.id ?? 0
  host.landed(0, 'registry', blob)
  host.step({ type: 'fetchEnded', blob, fetch })
}

describe('many small layers', () => {
  test('are read from the registry a few at a time, the first of the image first', () => {
    const host = layered()
    assert.deepEqual(fetching(host), LAYERS.slice(0, FIRST_SLOTS))
  })

  test('are read more at a time while a request takes hardly longer than the quickest', () => {
    const host = layered()
    host.now += 30
    bring(host)
    assert.deepEqual(fetching(host), LAYERS.slice(1, FIRST_SLOTS + 2))
  })

  test('but for those that a client waits for', () => {
    const host = layered()
    const blob = digestNamed('layer 9')
    const commands = host.step({ type: 'reader', blob, piece: 0, waiting: true })
    assert.deepEqual(
      of(commands, 'fetch').map((command) => command.blob),
      [blob]
    )
  })
})

test('places grow by what comes quickly, up to a bound, and shrink by what is held up', () => {
  const slots = createFetchSlots()
  for (let i = 0; i < 40; i++) noteFirstPiece(slots, 30 + (i % 20))
  const most = slots.slots
  noteFirstPiece(slots, 100)
  assert.equal(slots.slots, most, 'in between nothing changes')
  noteFirstPiece(slots, 200)
  assert.equal(slots.slots, most - 1)
  for (let i = 0; i < 40; i++) noteFirstPiece(slots, 200)
  assert.equal(slots.slots, FIRST_SLOTS)
  assert.equal(most, 16)
})
