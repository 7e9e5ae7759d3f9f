import { block, insertAt, lineEnd } from './blocks.ts'
import type { Problem } from './setup.ts'
import { at, differsOnlyAt, header, isTable, readToml, type TomlText, type TomlValues } from './toml-text.ts'

/** Read by every containerd since 1.3; newer ones migrate it. */
const NEW_FILE_VERSION = 2

/** Where the CRI plugin keeps its image settings: version 1 of the file, version 2 (containerd 1.x), 3 and later (2.x). */
const PLUGINS = { 1: 'cri', 2: 'io.containerd.grpc.v1.cri', 3: 'io.containerd.cri.v1.images' } as const

/** What `config.toml` says about registries. */
export interface RegistrySettings {
  /** The folders that hosts.toml files are looked for in, as written; empty: none. */
  readonly configPath: string
  /** Settings that containerd refuses to start with once `config_path` is set. */
  readonly conflicts: readonly string[]
  readonly imports: readonly string[]
  readonly criDisabled: boolean
  readonly discardsLayers: boolean
}

export function registrySettings(values: TomlValues): RegistrySettings {
  const plugin = ['plugins', pluginOf(values)]
  const path = at(values, [...plugin, 'registry', 'config_path'])
  const mirrors = at(values, [...plugin, 'registry', 'mirrors'])
  const configs = at(values, [...plugin, 'registry', 'configs'])
  const disabled = at(values, ['disabled_plugins'])
  const imports = at(values, ['imports'])
  return {
    configPath: typeof path === 'string' ? path : '',
    conflicts: [
      ...(isTable(mirrors) && Object.keys(mirrors).length > 0 ? ['registry.mirrors'] : []),
      ...(isTable(configs) && Object.values(configs).some((config) => isTable(at(config, ['tls']))) ? ['registry.configs.….tls'] : [])
    ],
    imports: Array.isArray(imports) ? imports.filter((one) => typeof one === 'string') : [],
    criDisabled: Array.isArray(disabled) && disabled.some((name) => Object.values(PLUGINS).some((known) => known === name)),
    discardsLayers:
      at(values, [...plugin, 'containerd', 'discard_unpacked_layers']) === true ||
      at(values, [...plugin, 'discard_unpacked_layers']) === true
  }
}

/** A list of folders, which containerd's newer pull path takes for the name of one. */
export function isPathList(configPath: string): boolean {
  return configPath.includes(':')
}

/** The file with `config_path` set to one folder, where it was not set or empty. */
export function withConfigPath(path: string, base: string | undefined, dir: string): string | Problem {
  const text = base ?? ''
  const toml = readToml(text)
  if (typeof toml === 'string') return brokenConfig(path, toml)
  const after = edited(text, toml, dir)
  const check = readToml(after)
  const isNew = Object.keys(toml.values).length === 0
  const before = isNew ? { version: NEW_FILE_VERSION } : toml.values
  const section = sectionOf(before)
  if (typeof check === 'string' || !differsOnlyAt(before, check.values, [...section, 'config_path'], dir)) {
    return {
      problem: `${path} has its registry settings in a form that cannot be added to`,
      remedy: `set config_path = "${dir}" in the table ${header(section)} by hand, restart containerd, then run this again`
    }
  }
  return after
}

export function brokenConfig(path: string, reason: string): Problem {
  return { problem: `${path} is not valid TOML: ${reason}`, remedy: 'correct the file, then run this again' }
}

function edited(text: string, toml: TomlText, dir: string): string {
  const eol = lineEnd(text)
  if (Object.keys(toml.values).length === 0) {
    const section = sectionOf({ version: NEW_FILE_VERSION })
    return insertAt(text, text.length, block([`version = ${NEW_FILE_VERSION}`, '', header(section), setting('  config_path', dir)], eol))
  }
  const section = sectionOf(toml.values)
  const entry = toml.entries.find(({ path }) => same(path, [...section, 'config_path']))
  if (entry !== undefined) {
    const lines = text.slice(entry.start, entry.end)
    const replaced = lines.replace(/\r?\n$/, '').split(/\r?\n/)
    return text.slice(0, entry.start) + block([setting(entry.key, dir)], eol, replaced) + text.slice(entry.end)
  }
  const table = toml.tables.find(({ path }) => same(path, section))
  const lines = [...(table === undefined ? [header(section)] : []), setting('  config_path', dir)]
  return insertAt(text, table?.end ?? text.length, block(lines, eol))
}

function setting(key: string, dir: string): string {
  return `${key} = ${JSON.stringify(dir)}`
}

function pluginOf(values: TomlValues): string {
  const version = Number(values.version ?? 1)
  return version >= 3 ? PLUGINS[3] : version === 2 ? PLUGINS[2] : PLUGINS[1]
}

function sectionOf(values: TomlValues): string[] {
  return ['plugins', pluginOf(values), 'registry']
}

function same(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((part, index) => part === b[index])
}
