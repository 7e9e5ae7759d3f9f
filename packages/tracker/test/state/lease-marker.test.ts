import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { createLogger } from '@layerswarm/core/log.ts'
import { LeaseMarker } from '../../src/state/lease-marker.ts'

const log = createLogger({ level: 'silent' })

test('the mark is there while leases are out, and goes once the fleet is idle for long', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'layerswarm-marker-'))
  try {
    const marker = await LeaseMarker.load(dir, log)
    assert.equal(marker.present, false)
    marker.update(true, 0)
    await marker.settled()
    assert.equal((await LeaseMarker.load(dir, log)).present, true)
    marker.update(false, 100)
    marker.update(true, 4000)
    marker.update(false, 4100)
    marker.update(false, 9000)
    await marker.settled()
    assert.equal((await readdir(dir)).length, 1, 'idle for less than five seconds')
    marker.update(false, 9100)
    await marker.settled()
    assert.equal((await LeaseMarker.load(dir, log)).present, false)
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
})
