import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { ManualClock } from '@layerswarm/testkit/manual-clock.ts'
import { pino } from 'pino'
import { KnownPeers } from '../../src/directory/known-peers.ts'

const log = pino({ level: 'silent' })

function peer(n: number) {
  return { id: `peer-${n}`, name: `host-${n}`, addrs: [`/ip4/192.0.2.1/tcp/${n}`] }
}

async function inDir(body: (dir: string) => Promise<void>): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'layerswarm-peers-'))
  try {
    await body(dir)
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

test('the latest hosts survive a restart, the oldest beyond 64 are forgotten, and no half file stays', () =>
  inDir(async (dir) => {
    const clock = new ManualClock()
    {
      await using known = await KnownPeers.open(dir, { clock, log })
      for (let i = 0; i < 100; i++) known.add([peer(i)])
      known.add([peer(50)])
    }
    await using again = await KnownPeers.open(dir, { clock, log })
    const ids = again.all().map(({ id }) => id)
    assert.deepEqual([ids.length, ids[0], ids[1], ids.at(-1)], [64, 'peer-50', 'peer-99', 'peer-36'])
    assert.deepEqual(await readdir(dir), ['known-peers.json'])
  }))

for (const [what, text] of Object.entries({ 'cut off': '[{"id":"a"', 'of another shape': '{"peers":3}', empty: '' })) {
  test(`a file that is ${what} is as good as none`, () =>
    inDir(async (dir) => {
      await writeFile(join(dir, 'known-peers.json'), text)
      await using known = await KnownPeers.open(dir, { clock: new ManualClock(), log })
      assert.deepEqual(known.all(), [])
    }))
}

test('a directory that cannot be written to does no harm', async () => {
  await using known = await KnownPeers.open('/dev/null/nowhere', { clock: new ManualClock(), log })
  known.add([peer(1)])
  assert.equal(known.all().length, 1)
})
