import { block, insertAt, lineEnd } from './blocks.ts'
import type { Problem } from './setup.ts'
import { at, differsOnlyAt, isTable, readToml, type TomlText } from './toml-text.ts'

/** Names that containerd 1.6 and later know; with any other it drops the whole file. */
const KNOWN_CAPABILITIES = ['pull', 'resolve', 'push', 'referrers']
/** Named, since without them containerd pushes to the mirror too. `referrers` is unknown to 1.6. */
const CAPABILITIES = ['pull', 'resolve']
/** An agent that has gone must not hold a pull up. containerd 1.6 does not know the key and ignores it. */
const DIAL_TIMEOUT = '200ms'

/** Certificates beside a hosts.toml, which containerd reads only while that file does not exist or is empty. */
export interface Certificates {
  readonly ca: readonly string[]
  /** Certificate and key. */
  readonly client: readonly (readonly [string, string])[]
}

/** containerd's rule for the files of a folder: *.crt are authorities, *.cert go with the *.key of the same name. */
export function certificatesAmong(names: readonly string[]): Certificates {
  const sorted = names.toSorted()
  return {
    ca: sorted.filter((name) => name.endsWith('.crt')),
    client: sorted.filter((name) => name.endsWith('.cert')).map((name) => [name, name.replace(/cert$/, 'key')] as const)
  }
}

/**
 * A hosts.toml that asks the mirror first and keeps everything else.
 * @param insecureServer the registry itself, where a file that has to be made says of it that its TLS is not verified, or
 * that it may speak plain HTTP
 * @returns undefined when the file already does so by itself
 */
export function withMirror(
  path: string,
  base: string | undefined,
  mirrorUrl: string,
  certificates: Certificates,
  insecureServer?: string
): string | Problem | undefined {
  const text = base ?? ''
  const toml = readToml(text)
  if (typeof toml === 'string') {
    return { problem: `${path} is not valid TOML, so containerd ignores it: ${toml}`, remedy: 'correct the file, then run this again' }
  }
  const hosts = at(toml.values, ['host'])
  const unknown = unknownCapability(toml.values)
  if (unknown !== undefined) {
    return {
      problem: `${path} names the capability "${unknown}", for which containerd ignores the whole file`,
      remedy: `use ${KNOWN_CAPABILITIES.join(', ')} only, then run this again`
    }
  }
  if (isTable(hosts) && Object.hasOwn(hosts, mirrorUrl)) return byHand(path, hosts, mirrorUrl)
  const fresh = text === '' ? serverLines(certificates, insecureServer) : []
  const lines = [
    ...fresh,
    `[host."${mirrorUrl}"]`,
    `  capabilities = ${JSON.stringify(CAPABILITIES)}`,
    `  dial_timeout = "${DIAL_TIMEOUT}"`
  ]
  const after = insertAt(text, beforeHosts(text, toml), block(lines, lineEnd(text)))
  return isSound(toml, after, mirrorUrl, text === '')
    ? after
    : {
        problem: `${path} defines its hosts in a form that cannot be added to`,
        remedy: 'write them as tables, [host."https://…"], then run this again'
      }
}

function byHand(path: string, hosts: Readonly<Record<string, unknown>>, mirrorUrl: string): Problem | undefined {
  const capabilities = at(hosts, [mirrorUrl, 'capabilities'])
  const isFirst = Object.keys(hosts)[0] === mirrorUrl
  if (isFirst && Array.isArray(capabilities) && capabilities.includes('pull') && !capabilities.includes('push')) return undefined
  return {
    problem: `${path} has ${mirrorUrl} already, but not as the first host with capabilities that are just for pulls`,
    remedy: `remove [host."${mirrorUrl}"] from it, then run this again`
  }
}

function unknownCapability(values: unknown): string | undefined {
  const hosts = at(values, ['host'])
  const all = [at(values, ['capabilities']), ...(isTable(hosts) ? Object.values(hosts).map((host) => at(host, ['capabilities'])) : [])]
  const names = all.flatMap((list) => (Array.isArray(list) ? list.map(String) : []))
  return names.find((name) => !KNOWN_CAPABILITIES.includes(name))
}

/** With both settings containerd tries HTTPS first, which a port that is not HTTP's own leaves open. */
function serverLines({ ca, client }: Certificates, insecureServer: string | undefined): string[] {
  const lines = [
    ...(insecureServer === undefined ? [] : [`server = "http://${insecureServer}"`, 'skip_verify = true']),
    ...(ca.length > 0 ? [`ca = ${JSON.stringify(ca)}`] : []),
    ...(client.length > 0 ? [`client = ${JSON.stringify(client)}`] : [])
  ]
  return lines.length > 0 ? [...lines, ''] : []
}

/** Before the first host, since their order is that of the file, and before the comment that belongs to it. */
function beforeHosts(text: string, { tables }: TomlText): number {
  let offset = tables.find(({ path }) => path[0] === 'host')?.start ?? text.length
  for (;;) {
    const above = text.lastIndexOf('\n', offset - 2) + 1
    if (offset === 0 || offset === text.length || !text.slice(above, offset).trimStart().startsWith('#')) return offset
    offset = above
  }
}

/** Whether it parses, has the mirror first and everything else as it was. */
function isSound(before: TomlText, after: string, mirrorUrl: string, fresh: boolean): boolean {
  const toml = readToml(after)
  if (typeof toml === 'string') return false
  const hosts = at(toml.values, ['host'])
  if (!isTable(hosts) || Object.keys(hosts)[0] !== mirrorUrl) return false
  return fresh || differsOnlyAt(before.values, toml.values, ['host', mirrorUrl], hosts[mirrorUrl])
}
