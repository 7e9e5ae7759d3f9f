import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, it } from 'node:test'
import type { Command } from 'commander'
import { completedCommands } from '../src/completion/model.ts'
import { createProgram } from '../src/program.ts'
import { runCommand, startCommand } from './run-command.ts'

it('prints its version', async () => {
  const { code, stdout } = await runCommand(['--version'])
  assert.equal(code, 0)
  assert.match(stdout, /^\d+\.\d+\.\d+\n$/)
})

describe('help', () => {
  it('of the program names every command, the exit codes and first steps', async () => {
    const { code, stdout } = await runCommand(['--help'])
    assert.equal(code, 0)
    for (const { path } of completedCommands(createProgram()).filter(({ path }) => path.split(' ').length === 2)) {
      assert.match(stdout, new RegExp(`^ ${path} `, 'm'))
    }
    assert.match(stdout, /^Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted\.\n\nExamples:\n {2}layerswarm standalone /m)
  })
  it('goes to standard output, for a command below another too', async () => {
    const { code, stdout, stderr } = await runCommand(['config', 'print', '--help'])
    assert.deepEqual([code, stderr], [0, ''])
    assert.match(stdout, /^Usage: layerswarm config print /)
  })
  for (const { path } of completedCommands(createProgram())) {
    it(`of layerswarm${path} says what it does, has examples and fits 80 columns`, () => {
      const command = commandAt(path)
      const text = helpOf(command)
      assert.ok(command.description().length > 0)
      assert.match(text, new RegExp(`^Examples:\\n  .*layerswarm${path}`, 'm'))
      assert.deepEqual(
        text.split('\n').filter((line) => line.length > 80),
        []
      )
    })
  }
})

function commandAt(path: string): Command {
  return path
    .split(' ')
    .filter(Boolean)
    .reduce<Command>((parent, name) => parent.commands.find((child) => child.name() === name) ?? assert.fail(path), createProgram())
}

/** What `--help` prints, on a terminal as wide as most. */
function helpOf(command: Command): string {
  let text = ''
  command.configureOutput({ getOutHelpWidth: () => 80, writeOut: (part) => (text += part) })
  command.outputHelp()
  return text
}

describe('wrong usage exits with 2 and says what to do', () => {
  const table: [string[], RegExp][] = [
    [['--nope'], /^error: unknown option '--nope'\nfix: see layerswarm --help\n$/],
    [['nope'], /^error: unknown command 'nope'\nfix: /],
    [['agent', '--max-dsk', '1G'], /^error: unknown option '--max-dsk'\nfix: did you mean --max-disk\? see layerswarm agent --help\n$/],
    [['agent', '--max-disk'], /^error: option '--max-disk <SIZE>' argument missing\nfix: see layerswarm agent --help\n$/],
    [['agent', '--max-disk', '1X'], /^error: the configuration is not valid: --max-disk: "1X" is not a size.*\nfix: /],
    [['agent', 'extra'], /^error: too many arguments.*\nfix: /],
    [
      ['agent', '--p2p-listen', '0.0.0.0:0'],
      /^error: listening beyond loopback needs a cluster key.*\nfix: make one with: layerswarm cluster-key/
    ],
    [['standalone', '--tracker-listen', '0.0.0.0:0'], /^error: listening beyond loopback needs a cluster key: --tracker-listen/],
    [['tracker', '--p2p-listen', 'x'], /^error: .*--p2p-listen: "x" is not ADDRESS:PORT/],
    [['pull'], /^error: missing required argument 'IMAGE'\nfix: see layerswarm pull --help\n$/],
    [['pull', 'UPPER::case'], /^error: not a valid image reference: UPPER::case\nfix: write /],
    [['pull', '--agent', 'nowhere', 'app'], /^error: option '--agent <URL>' argument 'nowhere' is invalid\. Not a URL.*\nfix: /],
    [['pull', '--platform', 'linux', 'app'], /^error: option '--platform <OS\/ARCH>' argument 'linux' is invalid.*\nfix: /],
    [['config', 'print', '--zone', ''], /^error: .*--zone: "" is not a name/],
    [['cluster-key', 'old'], /^error: unknown command 'old'\nfix: see layerswarm cluster-key --help\n$/]
  ]
  for (const [args, message] of table) {
    it(args.join(' '), async () => {
      const { code, stdout, stderr } = await runCommand(args)
      assert.match(stderr, message)
      assert.equal(stdout, '')
      assert.equal(code, 2)
    })
  }
  for (const args of [[], ['cluster-key']]) {
    it(`nothing after layerswarm ${args.join(' ')}: the help`, async () => {
      const { code, stderr } = await runCommand(args)
      assert.match(stderr, /^Usage: layerswarm/)
      assert.equal(code, 2)
    })
  }
  it('names an unknown variable', async () => {
    const { code, stderr } = await runCommand(['config', 'check'], { env: { LAYERSWARM_MAX_DISC: '1G' } })
    assert.match(stderr, /unknown variable LAYERSWARM_MAX_DISC; did you mean LAYERSWARM_MAX_DISK\?/)
    assert.equal(code, 2)
  })
})

it('ends quietly when nobody reads its output', async () => {
  const child = startCommand(['agent', '--help'])
  child.stdout?.destroy()
  let complaints = ''
  child.stderr?.on('data', (chunk) => {
    complaints += chunk
  })
  const [code] = await once(child, 'close')
  assert.equal(complaints, '')
  assert.equal(code, 0)
})
