import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { type Clients, INSTALLED } from './clients.ts'
import { fileDigest } from './content.ts'
import type { Host } from './network.ts'

/**
 * Copies an image into a new folder with skopeo and returns what arrived: file name by digest of its bytes.
 * `registriesFile` names the mirrors; `insecure` allows plain HTTP to the registry itself; `all` takes every
 * manifest of an index; unless `preserveDigests` is false skopeo may change nothing on the way. `etc`
 * stands for /etc/containers.
 */
export async function skopeoCopy(
  host: Host,
  reference: string,
  into: string,
  options: { registriesFile?: string; insecure?: boolean; all?: boolean; preserveDigests?: boolean; etc?: string; clients?: Clients } = {}
): Promise<Map<string, string>> {
  const dir = join(host.dir, into)
  const mirrors = options.registriesFile === undefined ? [] : ['--registries-conf', options.registriesFile]
  const flags = [...(options.insecure ? ['--src-tls-verify=false'] : []), ...(options.all ? ['--all'] : [])]
  if (options.preserveDigests !== false) flags.push('--preserve-digests')
  const { clients = INSTALLED, etc } = options
  const binds = [...(etc === undefined ? [] : [{ from: etc, to: '/etc/containers' }]), ...clients.binds]
  const copy = ['copy', '--quiet', ...flags, `docker://${reference}`, `dir:${dir}`]
  await host.run('skopeo', ['--insecure-policy', ...mirrors, ...copy], { binds })
  const files = new Map<string, string>()
  for (const name of readdirSync(dir)) files.set(name, await fileDigest(join(dir, name)))
  return files
}
