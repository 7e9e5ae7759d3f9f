import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { it } from 'node:test'
import { agentOptions } from '@layerswarm/agent/config.ts'
import { resolveConfig } from '@layerswarm/core/config/load.ts'
import { hostFacts, type OptionSet } from '@layerswarm/core/config/options.ts'
import { trackerOptions } from '@layerswarm/tracker/config.ts'

const ROOT = new URL('../../../', import.meta.url)

/** What a file sets in the environment of a daemon, on a host whose state lies where it usually does. */
function environmentIn(file: string, line: RegExp): Record<string, string> {
  const [, assignments] = line.exec(readFileSync(new URL(file, ROOT), 'utf8')) ?? assert.fail(`${file} sets no environment`)
  const pairs = (assignments ?? '').replaceAll('%S', '/var/lib').split(' ')
  return Object.fromEntries(pairs.map((pair) => pair.split('=') as [string, string]))
}

function checkDataDir<C extends { readonly dataDir: string }>(set: OptionSet<C>, env: Record<string, string>): void {
  const facts = { ...hostFacts(), env, root: false }
  assert.equal(resolveConfig(set, { facts }).config.dataDir, '/var/lib/layerswarm')
  const file = { path: '/etc/layerswarm/daemon.toml', text: 'data-dir = "/srv/images"\n' }
  assert.equal(resolveConfig(set, { facts, file }).config.dataDir, '/srv/images')
}

it('units keep data where the configuration says, else in /var/lib/layerswarm', () => {
  checkDataDir(agentOptions, environmentIn('packaging/systemd/layerswarm-agent.service', /^Environment=(.*)$/m))
  checkDataDir(trackerOptions, environmentIn('packaging/systemd/layerswarm-tracker.service', /^Environment=(.*)$/m))
})

it('the image does so too', () => {
  checkDataDir(agentOptions, environmentIn('Dockerfile', /^ENV (.*)$/m))
})
