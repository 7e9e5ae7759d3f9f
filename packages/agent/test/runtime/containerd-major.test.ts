import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, copyFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { ContainerdRuntime } from '../../src/runtime/containerd.ts'
import { containerdMajor } from '../../src/runtime/containerd-major.ts'
import { installMirror, mirrorStatus } from '../../src/runtime/mirror-setup.ts'
import { ConfigTree } from './config-tree.ts'

const SETTINGS = { mirrorUrl: 'http://127.0.0.1:5050', registries: [], onlyRegistries: false }
const MODULES = { 1: '\0github.com/containerd/containerd\0', 2: '\0github.com/containerd/containerd/v2\0' } as const
const FOR_1 = 'version = 2\n[plugins."io.containerd.grpc.v1.cri".containerd]\ndiscard_unpacked_layers = true\n'
const FOR_BOTH = `${FOR_1}[plugins."io.containerd.cri.v1.images"]\ndiscard_unpacked_layers = true\n`

/** A process that is called containerd and has in it what that has; not one that can be asked anything. */
async function running(tree: ConfigTree, major: 1 | 2): Promise<AsyncDisposable> {
  copyFileSync('/bin/sh', tree.path('containerd'))
  appendFileSync(tree.path('containerd'), MODULES[major])
  const script = ['-c', 'echo; read line', 'containerd', '--config', tree.path('etc/config.toml')]
  const child = spawn(tree.path('containerd'), script, { stdio: ['pipe', 'pipe', 'ignore'] })
  await once(child.stdout, 'data')
  return {
    [Symbol.asyncDispose]: async () => {
      child.stdin.end()
      await once(child, 'exit')
    }
  }
}

describe('a program is', () => {
  for (const [what, text, major] of [
    ['containerd 1.x', `x${MODULES[1]}`, 1],
    ['containerd 2.x', `${MODULES[1]}${MODULES[2]}x`, 2],
    ['neither', 'ELF', undefined]
  ] as const) {
    it(what, async () => {
      using tree = new ConfigTree()
      tree.write('program', text)
      assert.equal(await containerdMajor(tree.path('program')), major)
    })
  }

  it('unknown where it is gone', async () => assert.equal(await containerdMajor('/proc/0/exe'), undefined))
})

describe('discard_unpacked_layers', () => {
  for (const [what, config, major, told] of [
    ['of 1.x, under 1.x', FOR_1, 1, '1.x'],
    ['of 1.x, under 2.x', FOR_1, 2, undefined],
    ['of 1.x, under none', FOR_1, undefined, '1.x'],
    ['of both, under 2.x', FOR_BOTH, 2, '2.x'],
    ['of both, under none', FOR_BOTH, undefined, '1.x and 2.x']
  ] as const) {
    it(`${what}: ${told === undefined ? 'nothing to tell' : `told of ${told}`}`, async () => {
      using tree = new ConfigTree()
      tree.write('etc/config.toml', config)
      const containerd = new ContainerdRuntime({ configFile: tree.path('etc/config.toml'), ownContainerd: [] })
      await installMirror(containerd, SETTINGS, { dataDir: tree.path('data') })
      await using _daemon = major && (await running(tree, major))
      const { problems } = await mirrorStatus(containerd, SETTINGS, { dataDir: tree.path('data') })
      const found = problems.map(
        ({ problem }) => /^discard_unpacked_layers is on for containerd (.*): layers are dropped/.exec(problem)?.[1]
      )
      assert.deepEqual(found, told === undefined ? [] : [told])
    })
  }
})
