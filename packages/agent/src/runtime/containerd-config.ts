import { block, insertAt, lineEnd } from './blocks.ts'
import type { Problem } from './setup.ts'
import { at, differsOnlyAt, header, isTable, readToml, type TomlText, type TomlValues } from './toml-text.ts'

/** Read by every containerd since 1.3; newer ones migrate it. */
const NEW_FILE_VERSION = 2

/** Where the CRI plugin keeps its image settings: version 1 of the file, version 2 (containerd 1.x), 3 and later (2.x). */
const PLUGINS = { 1: 'cri', 2: 'io.containerd.grpc.v1.cri', 3: 'io.containerd.cri.v1.images' } as const

const DISCARD = 'discard_unpacked_layers'

/** containerd 1.x or 2.x, which keep the same setting in different places. */
export type ContainerdMajor = 1 | 2

/** What `config.toml` says about registries. */
export interface RegistrySettings {
  /** The folders that hosts.toml files are looked for in, as written; empty: none. */
  readonly configPath: string
  /** Whether every containerd that reads a file of this version finds `config_path` where it looks for it. */
  readonly configPathForAll: boolean
  /** Settings that containerd refuses to start with once `config_path` is set. */
  readonly conflicts: readonly string[]
  readonly imports: readonly string[]
  readonly criDisabled: boolean
  /** The containerds that drop a layer once it is unpacked, by this file. */
  readonly discardsLayers: readonly ContainerdMajor[]
}

export function registrySettings(values: TomlValues): RegistrySettings {
  const plugin = ['plugins', pluginOf(values)]
  const paths = sectionsOf(values).map((section) => at(values, [...section, 'config_path']))
  const mirrors = at(values, [...plugin, 'registry', 'mirrors'])
  const configs = at(values, [...plugin, 'registry', 'configs'])
  const disabled = at(values, ['disabled_plugins'])
  const imports = at(values, ['imports'])
  return {
    configPath: paths.find(isSet) ?? '',
    configPathForAll: paths.every(isSet),
    conflicts: [
      ...(isTable(mirrors) && Object.keys(mirrors).length > 0 ? ['registry.mirrors'] : []),
      ...(isTable(configs) && Object.values(configs).some((config) => isTable(at(config, ['tls']))) ? ['registry.configs.….tls'] : [])
    ],
    imports: Array.isArray(imports) ? imports.filter((one) => typeof one === 'string') : [],
    criDisabled: Array.isArray(disabled) && disabled.some((name) => Object.values(PLUGINS).some((known) => known === name)),
    discardsLayers: [
      ...(at(values, [...plugin, 'containerd', DISCARD]) === true ? [1 as const] : []),
      // Read whatever the version of the file; what stands in the older place is not taken over.
      ...(at(values, ['plugins', PLUGINS[3], DISCARD]) === true ? [2 as const] : [])
    ]
  }
}

/** A list of folders, which containerd's newer pull path takes for the name of one. */
export function isPathList(configPath: string): boolean {
  return configPath.includes(':')
}

/** The file with `config_path` set to one folder, wherever a containerd looks for it and it was not set or empty. */
export function withConfigPath(path: string, base: string | undefined, dir: string): string | Problem {
  let text = base ?? ''
  const toml = readToml(text)
  if (typeof toml === 'string') return brokenConfig(path, toml)
  const isNew = Object.keys(toml.values).length === 0
  for (const section of sectionsOf(isNew ? { version: NEW_FILE_VERSION } : toml.values)) {
    const after = withSetting(text, section, dir)
    if (after === undefined) {
      return {
        problem: `${path} has its registry settings in a form that cannot be added to`,
        remedy: `set config_path = "${dir}" in the table ${header(section)} by hand, restart containerd, then run this again`
      }
    }
    text = after
  }
  return text
}

export function brokenConfig(path: string, reason: string): Problem {
  return { problem: `${path} is not valid TOML: ${reason}`, remedy: 'correct the file, then run this again' }
}

/** The text with `config_path` in this section, and nothing else changed; undefined where that cannot be done. */
function withSetting(text: string, section: readonly string[], dir: string): string | undefined {
  const toml = readToml(text)
  if (typeof toml === 'string') return undefined
  const isNew = Object.keys(toml.values).length === 0
  const before = isNew ? { version: NEW_FILE_VERSION } : toml.values
  const path = [...section, 'config_path']
  if (isSet(at(before, path))) return text
  const after = edited(text, toml, section, dir, isNew ? [`version = ${NEW_FILE_VERSION}`, ''] : [])
  const check = readToml(after)
  return typeof check === 'string' || !differsOnlyAt(before, check.values, path, dir) ? undefined : after
}

/** @param first lines that the table is to follow, where it has to be made */
function edited(text: string, toml: TomlText, section: readonly string[], dir: string, first: readonly string[]): string {
  const eol = lineEnd(text)
  const entry = toml.entries.find(({ path }) => same(path, [...section, 'config_path']))
  if (entry !== undefined) {
    const lines = text.slice(entry.start, entry.end)
    const replaced = lines.replace(/\r?\n$/, '').split(/\r?\n/)
    return text.slice(0, entry.start) + block([setting(entry.key, dir)], eol, replaced) + text.slice(entry.end)
  }
  const table = toml.tables.find(({ path }) => same(path, section))
  const lines = [...(table === undefined ? [...first, header(section)] : []), setting('  config_path', dir)]
  return insertAt(text, table?.end ?? text.length, block(lines, eol))
}

function setting(key: string, dir: string): string {
  return `${key} = ${JSON.stringify(dir)}`
}

function pluginOf(values: TomlValues): string {
  const version = Number(values.version ?? 1)
  return version >= 3 ? PLUGINS[3] : version === 2 ? PLUGINS[2] : PLUGINS[1]
}

/** The tables that containerds look into for `config_path`: of a file of version 1, 2.x takes nothing over from `cri`. */
function sectionsOf(values: TomlValues): string[][] {
  const plugin = pluginOf(values)
  return (plugin === PLUGINS[1] ? [plugin, PLUGINS[3]] : [plugin]).map((name) => ['plugins', name, 'registry'])
}

function isSet(configPath: unknown): configPath is string {
  return typeof configPath === 'string' && configPath !== ''
}

function same(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((part, index) => part === b[index])
}
