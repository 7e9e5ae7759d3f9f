/**
 * Files of stored credentials: docker's config.json and podman's auth.json (containers-auth.json(5)) are one format.
 */
import { z } from 'zod'
import type { Credential } from './credentials.ts'

/** What one file says, its keys in one form. */
export interface AuthFile {
  /** By `host`, `host:port` or one of these with a path. */
  readonly auths: ReadonlyMap<string, Credential>
  /** By host: the name of the program that knows its credentials. */
  readonly helpers: ReadonlyMap<string, string>
  /** The program that knows all others. */
  readonly store: string | undefined
}

/** Docker Hub, as image names call it: its credentials are kept under any of these. */
const HUB = 'docker.io'
const HUB_NAMES = new Set([HUB, 'index.docker.io', 'registry-1.docker.io'])
/** The key that `docker login` writes for Hub, and that it asks credential helpers for. */
const HUB_KEY = 'https://index.docker.io/v1/'

const text = z.string().optional().catch(undefined)
const entrySchema = z.object({ auth: text, username: text, password: text, identitytoken: text, registrytoken: text }).catch({})
const programs = z.record(z.string(), z.string()).catch({})
const fileSchema = z.object({
  auths: z.record(z.string(), entrySchema).catch({}),
  credHelpers: programs,
  credsStore: text
})

/**
 * Reads a file. An entry that says nothing, or nothing that can be understood, is left out.
 * @throws {Error} for what is no JSON object; its message repeats nothing of the file
 */
export function parseAuthFile(content: string): AuthFile {
  let json: unknown
  try {
    json = JSON.parse(content)
  } catch {
    // The parser's own message quotes what it stumbled over.
    throw new Error('not valid JSON')
  }
  const file = fileSchema.safeParse(json)
  if (!file.success) throw new Error('not a JSON object')
  const { auths, credHelpers, credsStore } = file.data
  const known = Object.entries(auths).flatMap(([key, entry]) => {
    const credential = credentialOf(entry)
    return credential === undefined ? [] : [[normalKey(key), credential] as const]
  })
  // Of several spellings of one key the first counts.
  return {
    auths: new Map(known.toReversed()),
    helpers: new Map(
      Object.entries(credHelpers)
        .map(([key, name]) => [normalKey(key), name] as const)
        .toReversed()
    ),
    store: credsStore === '' ? undefined : credsStore
  }
}

/** The entry for a repository: the one whose path is the longest that leads to it, else the registry's own. */
export function storedFor(auths: AuthFile['auths'], registry: string, path: string): Credential | undefined {
  const host = normalKey(registry)
  const parts = path.split('/')
  for (let length = parts.length; length > 0; length--) {
    const found = auths.get([host, ...parts.slice(0, length)].join('/'))
    if (found !== undefined) return found
  }
  return auths.get(host)
}

/** The program that a file names for a registry. */
export function helperFor({ helpers, store }: AuthFile, registry: string): string[] {
  const own = helpers.get(normalKey(registry))
  return [...new Set([own, store].filter((name) => name !== undefined && name !== ''))] as string[]
}

/** What a helper may know the registry as, in the order to ask. */
export function serverKeys(registry: string): readonly string[] {
  return normalKey(registry) === HUB ? [HUB_KEY, HUB] : [registry]
}

/** A key without scheme: with one, or with an API version behind it, its path means nothing (what `docker login` once wrote). */
function normalKey(key: string): string {
  const bare = key.replace(/^https?:\/\//, '')
  const slash = bare.indexOf('/')
  const host = (slash === -1 ? bare : bare.slice(0, slash)).toLowerCase()
  const path = slash === -1 ? '' : bare.slice(slash + 1).replace(/\/$/, '')
  const name = HUB_NAMES.has(host) ? HUB : host
  return path === '' || bare !== key || /\/v[12]\/$/.test(bare) ? name : `${name}/${path}`
}

function credentialOf(entry: z.infer<typeof entrySchema>): Credential | undefined {
  const { auth = '', identitytoken = '', registrytoken = '' } = entry
  if (registrytoken !== '') return { kind: 'access', token: registrytoken }
  if (identitytoken !== '') return { kind: 'identity', token: identitytoken }
  // Old versions of docker pad with NULs.
  const decoded = Buffer.from(auth, 'base64').toString().replaceAll('\0', '')
  const colon = decoded.indexOf(':')
  const [username, password] = colon === -1 ? [entry.username, entry.password] : [decoded.slice(0, colon), decoded.slice(colon + 1)]
  return username && password ? { kind: 'password', username, password } : undefined
}
