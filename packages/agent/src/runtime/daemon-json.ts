import { itemsOf, type JsonMember, membersOf, withoutItem } from './json-text.ts'
import type { Problem } from './setup.ts'

const KEY = 'registry-mirrors'

type Settings = Readonly<Record<string, unknown>>

/** @returns what is wrong where the text is no JSON object; an empty file is one without settings, as for dockerd */
export function readDaemonJson(text: string | undefined): Settings | string {
  if (text === undefined || text.trim() === '') return {}
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Settings) : 'it is not an object'
  } catch (error) {
    return (error as Error).message
  }
}

/**
 * A daemon.json whose first registry mirror is ours; all other text stays.
 * @returns undefined when it names the mirror already
 */
export function withRegistryMirror(path: string, base: string | undefined, mirrorUrl: string): string | Problem | undefined {
  const settings = readDaemonJson(base)
  if (typeof settings === 'string') {
    return {
      problem: `${path} is not valid JSON, so dockerd will not start with it: ${settings}`,
      remedy: 'correct the file, then run this again'
    }
  }
  const mirrors = settings[KEY] ?? []
  if (!Array.isArray(mirrors)) return { problem: `${KEY} in ${path} is not a list`, remedy: 'make it a list of URLs, then run this again' }
  if (mirrors.some((mirror) => isAt(mirror, mirrorUrl))) return undefined
  const list = JSON.stringify([mirrorUrl])
  if (base === undefined || base.trim() === '') return `{\n  "${KEY}": ${list}\n}\n`

  const members = membersOf(base)
  const member = mirrorsMember(members)
  if (member === undefined) return withMember(base, members, `"${KEY}": ${list}`)
  if (mirrors.length === 0) return base.slice(0, member.valueStart) + list + base.slice(member.end)
  const first = itemsOf(base, member.valueStart)[0]?.start ?? member.valueStart
  const gap = base.slice(member.valueStart + 1, first)
  return `${base.slice(0, first)}${JSON.stringify(mirrorUrl)},${gap === '' ? ' ' : gap}${base.slice(first)}`
}

/** The text with an empty list of mirrors; undefined where it has a list already or cannot be read. */
export function withEmptyMirrors(base: string | undefined): string | undefined {
  const settings = readDaemonJson(base)
  if (typeof settings === 'string' || KEY in settings) return undefined
  const member = `"${KEY}": []`
  return base === undefined || base.trim() === '' ? `{${member}}\n` : withMember(base, membersOf(base), member)
}

/** The text without mirrors at any of `mirrorUrls`; undefined when nothing else is in it. */
export function withoutRegistryMirror(text: string, mirrorUrls: readonly string[]): string | undefined {
  const settings = readDaemonJson(text)
  if (typeof settings === 'string' || !Array.isArray(settings[KEY])) return text
  const left = settings[KEY].filter((mirror) => !mirrorUrls.some((url) => isAt(mirror, url)))
  if (left.length === settings[KEY].length) return text
  const members = membersOf(text)
  const member = mirrorsMember(members)
  if (member === undefined) return text
  if (left.length === 0) return members.length === 1 ? undefined : withoutItem(text, members, members.indexOf(member))
  const items = itemsOf(text, member.valueStart)
  const index = items.findIndex(({ start, end }) => mirrorUrls.some((url) => isAt(JSON.parse(text.slice(start, end)), url)))
  return withoutRegistryMirror(withoutItem(text, items, index), mirrorUrls)
}

/** Docker itself shows mirrors with a slash at the end. */
export function isAt(mirror: unknown, url: string): boolean {
  return typeof mirror === 'string' && mirror.replace(/\/$/, '') === url
}

/** The last one counts, for dockerd too. */
function mirrorsMember(members: readonly JsonMember[]): JsonMember | undefined {
  return members.findLast(({ key }) => key === KEY)
}

function withMember(text: string, members: readonly JsonMember[], member: string): string {
  const last = members.at(-1)
  if (last === undefined) return `${text.slice(0, text.indexOf('{'))}{\n  ${member}\n}${text.slice(text.indexOf('}') + 1)}`
  const gap = /\s*$/.exec(text.slice(0, last.start))?.[0] ?? ''
  return `${text.slice(0, last.end)},${gap === '' ? ' ' : gap}${member}${text.slice(last.end)}`
}
