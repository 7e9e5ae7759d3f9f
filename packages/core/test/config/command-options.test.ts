import assert from 'node:assert/strict'
import { it } from 'node:test'
import { Command } from 'commander'
import { addOptions, collectedFlags } from '../../src/config/command-options.ts'
import { nameText, onOff } from '../../src/config/fields.ts'
import { list, option, optional } from '../../src/config/options.ts'
import { size } from '../../src/config/quantities.ts'

const set = {
  name: 'sample',
  specs: { peerName: option(nameText, 'a name', 'x'), tag: list(nameText, 'a tag'), maxDisk: optional(size, 'most bytes') },
  finish: (config: { peerName: string; tag: readonly string[]; maxDisk: number | undefined }) => config
}

it('has one flag per option, with its default, and collects what was given as text', () => {
  const command = addOptions(new Command(), set)
  command.parse(['--tag', 'a', '--tag=b', '--max-disk', '1X', '--config', 'f.toml'], { from: 'user' })
  assert.deepEqual(collectedFlags(command), { flags: { tag: ['a', 'b'], maxDisk: '1X' }, config: 'f.toml' })
  assert.deepEqual(
    command.options.map(({ flags, description }) => `${flags}: ${description}`),
    [
      '--peer-name <NAME>: a name (default: x)',
      '--tag <NAME>: a tag (repeatable)',
      '--max-disk <SIZE>: most bytes',
      '--config <FILE>: TOML file with the same options (default: /etc/layerswarm/sample.toml if present)'
    ]
  )
})

it('has switches, which stand alone or with their value', () => {
  const specs = { allowPush: option(onOff, 'take pushes', false) }
  const switches = { name: 'sample', specs, finish: (config: { allowPush: boolean }) => config }
  assert.match(addOptions(new Command(), switches).helpInformation(), /--allow-push \[true\|false\] +take pushes \(default: false\)\n/)
  const given = (args: readonly string[]) => {
    const command = addOptions(new Command(), switches)
      .exitOverride()
      .configureOutput({ writeErr: () => undefined })
    command.parse(args, { from: 'user' })
    return collectedFlags(command).flags.allowPush
  }
  assert.equal(given([]), undefined)
  assert.equal(given(['--allow-push']), 'true')
  assert.equal(given(['--allow-push', '--config', 'f']), 'true')
  assert.equal(given(['--allow-push=false']), 'false')
})
