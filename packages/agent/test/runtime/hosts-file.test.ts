import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { withoutBlocks } from '../../src/runtime/blocks.ts'
import { certificatesAmong, withMirror } from '../../src/runtime/hosts-file.ts'

const URL = 'http://127.0.0.1:5050'
const PATH = '/etc/containerd/certs.d/_default/hosts.toml'
const NONE = certificatesAmong([])

const BLOCK = `# >>> layerswarm >>> written by "layerswarm mirror install", taken out by "layerswarm mirror uninstall"
[host."http://127.0.0.1:5050"]
  capabilities = ["pull","resolve"]
  dial_timeout = "200ms"
# <<< layerswarm <<<
`

function install(base: string | undefined, certificates = NONE) {
  return withMirror(PATH, base, URL, certificates)
}

describe('what is written', () => {
  for (const [what, base, expected] of [
    ['no file', undefined, BLOCK],
    ['server and nothing else', 'server = "https://registry-1.docker.io"\n', `server = "https://registry-1.docker.io"\n${BLOCK}`],
    ['no line end at the end', 'server = "https://r.example"', `server = "https://r.example"\n${BLOCK}`],
    [
      'other hosts, with the comments that belong to them',
      `# ours since 2021
server = "https://r.example"
ca = "root.crt"  # private

# the cache in the next rack
# (ask Kim)
[host."https://cache.example"]
  capabilities = ["pull"]
  [host."https://cache.example".header]
    x-rack = "7"

[host."https://other.example"]
`,
      `# ours since 2021
server = "https://r.example"
ca = "root.crt"  # private

${BLOCK}# the cache in the next rack
# (ask Kim)
[host."https://cache.example"]
  capabilities = ["pull"]
  [host."https://cache.example".header]
    x-rack = "7"

[host."https://other.example"]
`
    ],
    [
      'settings of the server in a table',
      `server = "https://r.example"\n[header]\n  x-token = "secret"\n[host."https://cache.example"]\n`,
      `server = "https://r.example"\n[header]\n  x-token = "secret"\n${BLOCK}[host."https://cache.example"]\n`
    ],
    ['a parent table', '[host]\n[host."https://a.example"]\n', `${BLOCK}[host]\n[host."https://a.example"]\n`],
    [
      'a text in which a table header is no table',
      'server = """\n[host."https://x"]\n"""\n',
      `server = """\n[host."https://x"]\n"""\n${BLOCK}`
    ],
    ['Windows line ends', 'server = "https://r.example"\r\n', `server = "https://r.example"\r\n${BLOCK.replaceAll('\n', '\r\n')}`]
  ] as const) {
    it(what, () => {
      const text = install(base)
      assert.equal(text, expected)
      assert.equal(withoutBlocks(expected).trimEnd(), (base ?? '').trimEnd())
    })
  }

  it('certificates that containerd would stop to read by itself', () => {
    const text = install(undefined, certificatesAmong(['b.crt', 'a.crt', 'client.key', 'client.cert']))
    assert.equal(text, BLOCK.replace('[host', 'ca = ["a.crt","b.crt"]\nclient = [["client.cert","client.key"]]\n\n[host'))
  })

  it('nothing about certificates beside a file that is not empty: containerd does not read them there', () => {
    assert.doesNotMatch(String(install('server = "https://r.example"\n', certificatesAmong(['a.crt']))), /ca =/)
  })
})

describe('what is left alone', () => {
  it('a file that names the mirror first, for pulls', () => {
    assert.equal(install('[host."http://127.0.0.1:5050"]\ncapabilities = ["pull"]\n[host."https://a"]\n'), undefined)
  })

  for (const [what, base, problem] of [
    ['broken TOML', 'server = \n', /is not valid TOML/],
    ['a capability that drops the whole file', '[host."https://a"]\ncapabilities = ["pull", "fly"]\n', /capability "fly"/],
    [
      'the mirror behind another host',
      '[host."https://a"]\n[host."http://127.0.0.1:5050"]\ncapabilities = ["pull"]\n',
      /not as the first host/
    ],
    ['the mirror without capabilities', '[host."http://127.0.0.1:5050"]\n', /not as the first host/],
    ['hosts in an inline table', 'host = { "https://a" = {} }\n', /a form that cannot be added to/],
    ['hosts by dotted keys', 'host."https://a".capabilities = ["pull"]\n', /a form that cannot be added to/]
  ] as const) {
    it(what, () => {
      const result = install(base)
      assert.ok(typeof result === 'object')
      assert.match(result.problem, problem)
      assert.match(result.remedy, /then run this again$/)
    })
  }
})
