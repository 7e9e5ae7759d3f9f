import { dirname, resolve } from 'node:path'
import { parse } from 'smol-toml'

/** A certificate and its key, as paths; one file may hold both. */
export interface CertificatePair {
  readonly cert: string
  readonly key: string
}

/** How a registry is trusted and who this host is there, as paths. */
export interface TlsPaths {
  readonly ca: readonly string[]
  readonly client: readonly CertificatePair[]
  readonly skipVerify: boolean
}

/**
 * What containerd's hosts.toml says of TLS with the registry itself: the root table where `server` names no other host,
 * and the `host` tables of its own addresses. Mirrors' tables say nothing here.
 * @param hosts names of the registry, each with its port if it has one
 * @param file path of the file: paths in it are relative to its folder
 * @throws {Error} for what is no TOML
 */
export function readHostsToml(text: string, hosts: readonly string[], file: string): TlsPaths {
  const root = parseToml(text)
  const own = (address: unknown) => typeof address === 'string' && hosts.includes(secureHost(address) ?? '')
  const tables = Object.entries(isTable(root.host) ? root.host : {}).flatMap(([address, table]) =>
    own(address) && isTable(table) ? [table] : []
  )
  if (root.server === undefined || own(root.server)) tables.push(root)
  const at = (path: string) => resolve(dirname(file), path)
  return {
    ca: tables.flatMap(({ ca }) => strings(ca)).map(at),
    client: tables.flatMap(({ client }) => pairs(client)).map(({ cert, key }) => ({ cert: at(cert), key: at(key) })),
    skipVerify: tables.some(({ skip_verify }) => skip_verify === true)
  }
}

type Table = Readonly<Record<string, unknown>>

function isTable(value: unknown): value is Table {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function parseToml(text: string): Table {
  try {
    return parse(text)
  } catch (error) {
    // The message goes on with a drawing of the line.
    throw new Error(error instanceof Error ? error.message.split('\n')[0] : 'not valid TOML')
  }
}

/** `host[:port]` of an https address, which is meant where there is no scheme. */
function secureHost(address: string): string | undefined {
  const url = URL.parse(address.includes('://') ? address : `https://${address}`)
  return url?.protocol === 'https:' ? url.host : undefined
}

function strings(value: unknown): string[] {
  return (Array.isArray(value) ? value : [value]).filter((item) => typeof item === 'string' && item !== '')
}

/** A path, a list of paths, or a list of pairs [certificate, key]; the key of a path alone, or of an empty one, is in the same file. */
function pairs(value: unknown): CertificatePair[] {
  return (Array.isArray(value) ? value : [value]).flatMap((item: unknown) => {
    const [cert, key] = strings(item)
    return cert === undefined ? [] : [{ cert, key: key ?? cert }]
  })
}
