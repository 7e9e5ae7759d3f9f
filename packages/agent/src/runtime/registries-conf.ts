import { stringify } from 'smol-toml'
import { block } from './blocks.ts'
import type { MirrorSettings, Problem } from './setup.ts'
import { at, isTable, readToml } from './toml-text.ts'

/** A `[[registry]]` of containers-registries.conf(5), version 2. */
export type RegistryTable = Readonly<Record<string, unknown>>

export interface ConfFile {
  readonly path: string
  readonly text: string
}

/** The tables of the files, by prefix: of equal prefixes the later file's counts, as a whole. */
export function registryTables(files: readonly ConfFile[]): ReadonlyMap<string, RegistryTable> | Problem {
  const tables = new Map<string, RegistryTable>()
  for (const { path, text } of files) {
    const toml = readToml(text)
    if (typeof toml === 'string') return { problem: `${path} is not valid TOML: ${toml}`, remedy: 'correct the file, then run this again' }
    if (isTable(toml.values.registries)) {
      return {
        problem: `${path} is in the old format, version 1`,
        remedy: 'write it in version 2, with [[registry]] tables, then run this again'
      }
    }
    for (const table of Array.isArray(toml.values.registry) ? toml.values.registry : []) {
      const prefix = at(table, ['prefix']) ?? at(table, ['location'])
      if (typeof prefix === 'string') tables.set(prefix, table)
    }
  }
  return tables
}

/** The text of a file that puts the mirror before what `tables` say of the registries, and the origins that it then needs. */
export function mirrorConf(
  tables: ReadonlyMap<string, RegistryTable>,
  settings: MirrorSettings
): { text: string; origins: string[] } | Problem {
  const registry: RegistryTable[] = []
  const origins = new Set<string>()
  for (const host of settings.registries) {
    for (const prefix of [host, ...[...tables.keys()].filter((key) => key.startsWith(`${host}/`))]) {
      const known = tables.get(prefix) ?? inherited(tables, prefix)
      if ('problem' in known) return known as unknown as Problem
      if (known.blocked === true) continue
      const location = typeof known.location === 'string' && known.location !== '' ? known.location : prefix
      origins.add(location.split('/')[0] ?? location)
      const others = Array.isArray(known.mirror) ? known.mirror : []
      registry.push({ ...known, prefix, location, mirror: [mirrorOf(settings.mirrorUrl, location), ...others] })
    }
  }
  return { text: block(stringify({ registry }).trimEnd().split('\n'), '\n'), origins: [...origins] }
}

function mirrorOf(mirrorUrl: string, location: string): RegistryTable {
  const { host, protocol } = new URL(mirrorUrl)
  const [registry = '', ...path] = location.split('/')
  // A colon cannot stand in the path of a repository; the mirror reads host_port.
  const prefix = [registry.toLowerCase().replace(':', '_'), ...path].join('/')
  return { location: `${host}/${prefix}`, ...(protocol === 'http:' ? { insecure: true } : {}) }
}

/** What a wildcard says of a registry that has no table of its own yet: the new table would end that. */
function inherited(tables: ReadonlyMap<string, RegistryTable>, host: string): RegistryTable | Problem {
  const wildcards = [...tables].filter(([prefix]) => prefix.startsWith('*.') && host.replace(/:\d+$/, '').endsWith(prefix.slice(1)))
  const [longest] = wildcards.toSorted(([a], [b]) => b.length - a.length)
  if (longest === undefined) return {}
  const [prefix, { prefix: _, ...table }] = longest
  if (!Array.isArray(table.mirror)) return table
  return {
    problem: `the mirrors of the registries ${prefix} cannot be carried over to ${host}`,
    remedy: `write a [[registry]] table for ${host} with its own mirrors, then run this again`
  }
}
