import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { isLayerswarmError } from '@layerswarm/core/errors.ts'
import { ContainerdRuntime } from '../../src/runtime/containerd.ts'
import { diskOps, type FileOps, temporaryOf } from '../../src/runtime/file-ops.ts'
import { ManagedFiles } from '../../src/runtime/managed-files.ts'
import { mirrorStatus } from '../../src/runtime/mirror-setup.ts'
import type { MirrorSettings } from '../../src/runtime/setup.ts'
import { ConfigTree } from './config-tree.ts'

const CONFIG = 'version = 2\n'
const HOSTS = 'server = "https://r.example"\n'
const FIRST: MirrorSettings = { mirrorUrl: 'http://127.0.0.1:5050', registries: [], onlyRegistries: false }
const SECOND: MirrorSettings = { ...FIRST, mirrorUrl: 'http://127.0.0.1:6060' }

class Killed extends Error {}

/** A disk under a process that is killed after some steps; in the middle of writing a file, if that is the next. */
function dyingOps(steps: number): FileOps & { readonly left: () => number } {
  let left = steps
  const step = (halfDone: () => void = () => undefined): void => {
    if (left === 0) {
      halfDone()
      left = -1
    }
    if (left < 0) throw new Killed()
    left--
  }
  return {
    left: () => left,
    async replace(path, content, ownership) {
      step(() => writeFileSync(temporaryOf(path), String(content).slice(0, 5)))
      await diskOps.replace(path, content, ownership)
    },
    async remove(path) {
      step()
      await diskOps.remove(path)
    },
    async makeDir(path, mode) {
      step()
      await diskOps.makeDir(path, mode)
    },
    async removeDir(path) {
      step()
      return await diskOps.removeDir(path)
    }
  }
}

class Machine extends ConfigTree {
  readonly runtime = new ContainerdRuntime({ configFile: this.path('etc/config.toml'), ownContainerd: [] })

  constructor() {
    super()
    this.write('etc/config.toml', CONFIG, 0o600)
    this.write('etc/certs.d/r.example/hosts.toml', HOSTS)
    this.makeDir('data')
  }

  /** @param settings undefined: uninstall */
  async run(settings: MirrorSettings | undefined, ops: FileOps = diskOps): Promise<void> {
    const files = await ManagedFiles.open(this.path('data/mirror/containerd'), this.runtime, ops)
    const plan = settings && (await this.runtime.plan(settings, (path, tree) => files.base(path, tree)))
    const set = await files.changes(plan?.files ?? [])
    assert.deepEqual([...set.problems, ...(plan?.problems ?? [])], [])
    await files.apply(set, settings)
  }
}

/** What is on the disk, without the order in which folders were made. */
function state(machine: Machine): [string, string][] {
  return [...machine.snapshot()].map(([name, text]) => [name, text.replace(/"createdDirs": \[[^\]]*\]/, '')])
}

describe('killed at any step', () => {
  const jobs = [
    ['an install', undefined, FIRST],
    ['an install for another address', FIRST, SECOND],
    ['an uninstall', FIRST, undefined]
  ] as const
  for (const [what, from, to] of jobs) {
    for (const [then, next] of [
      ['repeated', to],
      ['taken back', undefined]
    ] as const) {
      it(`${what} can be ${then}`, async () => {
        const expected = await (async () => {
          using machine = new Machine()
          if (next !== undefined) await machine.run(next)
          return state(machine).map(([name, text]) => [name, text.replaceAll(machine.dir, '')])
        })()
        let finished = false
        let deaths = 0
        for (let steps = 0; !finished; steps++) {
          using machine = new Machine()
          if (from !== undefined) await machine.run(from)
          const ops = dyingOps(steps)
          await machine
            .run(to, ops)
            .catch((error: unknown) => assert.ok(isLayerswarmError(error, 'SETUP_FAILED') && error.cause instanceof Killed))
          finished = ops.left() >= 0
          if (!finished) deaths++
          await machine.run(next)
          const found = state(machine).map(([name, text]) => [name, text.replaceAll(machine.dir, '')])
          assert.deepEqual(withoutRecordHashes(found), withoutRecordHashes(expected), `after ${steps} steps`)
        }
        assert.ok(deaths > 8)
      })
    }
  }
})

/** The texts name a folder of the test, and their hashes with them. */
function withoutRecordHashes(entries: readonly (readonly [string, string] | string[])[]): unknown {
  return entries.map(([name, text = '']) => [name, text.replace(/[0-9a-f]{64}/g, '#')])
}

it('tells that an install for another address was interrupted', async () => {
  using machine = new Machine()
  await machine.run(FIRST)
  for (let steps = 0; ; steps++) {
    await machine.run(SECOND, dyingOps(steps)).catch(() => undefined)
    const { problems } = await mirrorStatus(machine.runtime, FIRST, { dataDir: machine.path('data') })
    if (problems.some(({ problem }) => problem === 'an install was interrupted')) return
    assert.ok(steps < 50)
  }
})

it('does not overwrite what somebody writes at the same time', async () => {
  using machine = new Machine()
  const files = await ManagedFiles.open(machine.path('data/mirror/containerd'), machine.runtime)
  const plan = await machine.runtime.plan(FIRST, (path, tree) => files.base(path, tree))
  const set = await files.changes(plan.files)
  machine.write('etc/config.toml', 'version = 3\n')
  await assert.rejects(
    files.apply(set, FIRST),
    (error) => isLayerswarmError(error, 'SETUP_FAILED') && /by somebody else just now/.test(error.message)
  )
  assert.equal(machine.read('etc/config.toml'), 'version = 3\n')
})

it('refuses a record that it cannot read', async () => {
  using machine = new Machine()
  machine.write('data/mirror/containerd/manifest.json', '{"version": 9}')
  await assert.rejects(machine.run(FIRST), (error) => isLayerswarmError(error, 'SETUP_FAILED') && /manifest\.json/.test(error.message))
})
