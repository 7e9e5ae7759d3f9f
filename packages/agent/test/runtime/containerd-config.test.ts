import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { withoutBlocks } from '../../src/runtime/blocks.ts'
import { registrySettings, withConfigPath } from '../../src/runtime/containerd-config.ts'
import { readToml } from '../../src/runtime/toml-text.ts'

const DIR = '/etc/containerd/certs.d'
const START = '# >>> layerswarm >>> written by "layerswarm mirror install", taken out by "layerswarm mirror uninstall"\n'
const END = '# <<< layerswarm <<<\n'

function settings(text: string) {
  const toml = readToml(text)
  assert.ok(typeof toml === 'object')
  return registrySettings(toml.values)
}

const GOLDEN: readonly (readonly [string, string | undefined, string])[] = [
  ['no file', undefined, `${START}version = 2\n\n[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "${DIR}"\n${END}`],
  [
    'only comments',
    '# nothing yet\n',
    `# nothing yet\n${START}version = 2\n\n[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "${DIR}"\n${END}`
  ],
  [
    'containerd 1.x, no registry table',
    'version = 2\n[plugins."io.containerd.grpc.v1.cri"]\n  sandbox_image = "pause"\n',
    `version = 2\n[plugins."io.containerd.grpc.v1.cri"]\n  sandbox_image = "pause"\n${START}[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "${DIR}"\n${END}`
  ],
  [
    'containerd 1.x, as its default is printed',
    `version = 2
[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    [plugins."io.containerd.grpc.v1.cri".registry]
      config_path = ""

      [plugins."io.containerd.grpc.v1.cri".registry.auths]
`,
    `version = 2
[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    [plugins."io.containerd.grpc.v1.cri".registry]
${START}# was:       config_path = ""
      config_path = "${DIR}"
${END}
      [plugins."io.containerd.grpc.v1.cri".registry.auths]
`
  ],
  [
    'a registry table without config_path',
    'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\n[plugins."io.containerd.grpc.v1.cri".registry.headers]\n  X = ["y"]\n',
    `version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\n${START}  config_path = "${DIR}"\n${END}[plugins."io.containerd.grpc.v1.cri".registry.headers]\n  X = ["y"]\n`
  ],
  [
    'containerd 2.x',
    "version = 3\n[plugins.'io.containerd.cri.v1.images']\n  [plugins.'io.containerd.cri.v1.images'.registry]\n    config_path = ''  # off\n",
    `version = 3\n[plugins.'io.containerd.cri.v1.images']\n  [plugins.'io.containerd.cri.v1.images'.registry]\n${START}# was:     config_path = ''  # off\n    config_path = "${DIR}"\n${END}`
  ],
  ['version 4', 'version = 4', `version = 4\n${START}[plugins."io.containerd.cri.v1.images".registry]\n  config_path = "${DIR}"\n${END}`],
  [
    'version 1, where containerd 2.x looks too',
    'oom_score = 0\n',
    `oom_score = 0\n${START}[plugins.cri.registry]\n  config_path = "${DIR}"\n${END}${START}[plugins."io.containerd.cri.v1.images".registry]\n  config_path = "${DIR}"\n${END}`
  ],
  [
    'version 1, where only 1.x finds it',
    `[plugins.cri.registry]\n  config_path = "${DIR}"\n`,
    `[plugins.cri.registry]\n  config_path = "${DIR}"\n${START}[plugins."io.containerd.cri.v1.images".registry]\n  config_path = "${DIR}"\n${END}`
  ],
  [
    'a dotted key',
    'version = 2\n[plugins."io.containerd.grpc.v1.cri"]\nregistry.config_path = ""\n',
    `version = 2\n[plugins."io.containerd.grpc.v1.cri"]\n${START}# was: registry.config_path = ""\nregistry.config_path = "${DIR}"\n${END}`
  ]
]

describe('config_path is set', () => {
  for (const [what, base, expected] of GOLDEN) {
    it(what, () => {
      assert.equal(withConfigPath('/etc/containerd/config.toml', base, DIR), expected)
      assert.equal(settings(expected).configPath, DIR)
      assert.equal(settings(expected).configPathForAll, true)
      assert.equal(withoutBlocks(expected).trimEnd(), (base ?? '').trimEnd())
    })
  }

  for (const [what, base] of [
    ['in an inline table', 'version = 2\n[plugins."io.containerd.grpc.v1.cri"]\nregistry = { config_path = "" }\n'],
    ['where a dotted key made the table', 'version = 2\n[plugins."io.containerd.grpc.v1.cri"]\nregistry.x = 1\n']
  ] as const) {
    it(`not ${what}, since that cannot be added to`, () => {
      const result = withConfigPath('/c.toml', base, DIR)
      assert.ok(typeof result === 'object')
      assert.match(
        result.remedy,
        /^set config_path = "\/etc\/containerd\/certs.d" in the table \[plugins\."io\.containerd\.grpc\.v1\.cri"\.registry\] by hand/
      )
    })
  }
})

describe('what the file says', () => {
  it('mirrors and TLS settings that rule out a config_path', () => {
    const cri = 'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry'
    assert.deepEqual(settings(`${cri}.mirrors."docker.io"]\nendpoint = ["https://a"]\n`).conflicts, ['registry.mirrors'])
    assert.deepEqual(settings(`${cri}.configs."a".tls]\nca_file = "x"\n`).conflicts, ['registry.configs.….tls'])
    assert.deepEqual(settings(`${cri}.configs."a".auth]\nusername = "x"\n`).conflicts, [])
  })

  for (const [what, text, majors] of [
    ['by containerd 1.x', 'version = 2\n[plugins."io.containerd.grpc.v1.cri".containerd]\ndiscard_unpacked_layers = true\n', [1]],
    ['by containerd 1.x, version 1', '[plugins.cri.containerd]\ndiscard_unpacked_layers = true\n', [1]],
    ['by containerd 2.x', 'version = 3\n[plugins."io.containerd.cri.v1.images"]\ndiscard_unpacked_layers = true\n', [2]],
    ['by containerd 2.x, version 2', 'version = 2\n[plugins."io.containerd.cri.v1.images"]\ndiscard_unpacked_layers = true\n', [2]],
    ['by none', 'version = 3\n', []],
    ['by none, where none looks', 'version = 2\n[plugins."io.containerd.grpc.v1.cri"]\ndiscard_unpacked_layers = true\n', []]
  ] as const) {
    it(`that layers are discarded ${what}`, () => assert.deepEqual(settings(text).discardsLayers, majors))
  }

  it('that CRI is switched off, and what is imported', () => {
    assert.equal(settings('disabled_plugins = ["cri"]\n').criDisabled, true)
    assert.deepEqual(settings('imports = ["conf.d/*.toml"]\n').imports, ['conf.d/*.toml'])
  })
})
