// needs: bash zsh fish
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { promisify } from 'node:util'
import { runCommand } from '../run-command.ts'

const run = promisify(execFile)

let folder: string
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'layerswarm-completion-'))
  for (const shell of ['bash', 'zsh', 'fish']) {
    const { code, stdout } = await runCommand(['completion', shell])
    assert.equal(code, 0)
    await writeFile(join(folder, shell), stdout)
  }
  await writeFile(join(folder, 'tracker.toml'), '')
})
after(() => rm(folder, { recursive: true }))

/** Runs a shell with nothing of its user's, in the folder; it has the script as `bash`, `zsh` or `fish` there. */
async function shell(program: string, args: readonly string[]): Promise<string> {
  const env = { PATH: process.env.PATH, HOME: folder, TERM: 'dumb' }
  return (await run(program, args, { cwd: folder, env, timeout: 30_000, killSignal: 'SIGKILL' })).stdout
}

/** What the three shells offer after `layerswarm` and these words, the last being unfinished. */
const OFFERS: readonly [words: readonly string[], offer: readonly string[]][] = [
  [['mir'], ['mirror']],
  [
    ['mirror', ''],
    ['install', 'status', 'uninstall']
  ],
  [
    ['mirror', 'install', '--runtime', ''],
    ['containerd', 'crio', 'docker', 'podman']
  ],
  [['agent', '--max-d'], ['--max-disk']],
  [
    ['agent', '--log-format', ''],
    ['json', 'pretty']
  ],
  [['tracker', '--log-level', 'de'], ['debug']],
  [['config', 'print', 'tracker', '--http'], ['--http-listen']],
  [['tracker', '--config', 'tr'], ['tracker.toml']],
  [['agent', '--zone', 'a'], []],
  [['agent', '--allow-push', '--max-d'], ['--max-disk']],
  [
    ['completion', ''],
    ['bash', 'fish', 'zsh']
  ]
]

describe('bash', () => {
  async function offer(words: readonly string[]): Promise<string[]> {
    const script = `source ./bash; COMP_WORDS=(layerswarm "$@"); COMP_CWORD=$#; _layerswarm; printf '%s\\n' "\${COMPREPLY[@]}"`
    return (await shell('bash', ['--norc', '-c', script, 'bash', ...words])).split('\n').filter(Boolean).sort()
  }

  for (const [words, expected] of OFFERS) {
    it(`layerswarm ${words.join(' ')}`, async () => assert.deepEqual(await offer(words), expected))
  }
  it('knows --option=value, which bash takes apart', async () => {
    assert.deepEqual(await offer(['mirror', 'install', '--runtime', '=']), ['containerd', 'crio', 'docker', 'podman'])
    assert.deepEqual(await offer(['mirror', 'install', '--runtime', '=', 'do']), ['docker'])
    assert.deepEqual(await offer(['agent', '--allow-push', '=', 't']), ['true'])
  })
  it('calls the function for layerswarm', async () => {
    assert.equal(await shell('bash', ['--norc', '-c', 'source ./bash; complete -p layerswarm']), 'complete -F _layerswarm layerswarm\n')
  })
})

describe('fish', () => {
  for (const [words, expected] of OFFERS) {
    it(`layerswarm ${words.join(' ')}`, async () => {
      const offered = await shell('fish', ['-c', `source ./fish; complete --do-complete 'layerswarm ${words.join(' ')}'`])
      const names = offered.split('\n').filter(Boolean)
      assert.deepEqual(names.map((line) => line.split('\t')[0]).sort(), expected)
    })
  }
})

describe('zsh', () => {
  // In a terminal of its own, a key lists what could be written; the answer is complete once the prompt is drawn anew.
  const SESSION = `
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z "autoload -Uz compinit && compinit -u -D; source ./zsh; LISTMAX=1000; setopt no_always_last_prompt"
zpty -w z "bindkey '^I' list-choices; PROMPT='> '; print DO''NE"
zpty -r z output '*DONE*> *'
zpty -n -w z "layerswarm $1"$'\\t'
zpty -r z output '*layerswarm*layerswarm*'
print -r -- "$output"
zpty -d z
`
  for (const [words, expected] of OFFERS.filter(([, { length }]) => length > 1)) {
    it(`layerswarm ${words.join(' ')}`, async () => {
      const output = await shell('zsh', ['-f', '-c', SESSION, 'zsh', words.join(' ')])
      const offered = output.slice(output.indexOf('layerswarm'), output.lastIndexOf('layerswarm'))
      for (const name of expected) assert.match(offered, new RegExp(`\\b${name}\\b`))
    })
  }
})

it('refuses other shells', async () => {
  const { code, stderr } = await runCommand(['completion', 'tcsh'])
  assert.equal(code, 2)
  assert.match(
    stderr,
    /^error: command-argument value 'tcsh' is invalid for argument 'SHELL'\. Allowed choices are bash, zsh, fish\.\nfix: /
  )
})
