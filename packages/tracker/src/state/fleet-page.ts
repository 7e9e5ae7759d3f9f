import { LayerswarmError } from '@layerswarm/core/errors.ts'

/** Entries of each list that one answer has at most: some hundred KiB of JSON, which delays nobody's plan. */
export const PAGE_ENTRIES = 1000

/** The lists of the fleet, in the order of their places in a cursor. */
const LISTS = ['hosts', 'blobs', 'leases'] as const
type List = (typeof LISTS)[number]

/** Which part of each list is wanted: what follows these keys, and how many entries of it. */
export interface FleetPage {
  readonly after: Readonly<Record<List, string>>
  readonly limit: number
}

/** A list's part, and the key that the next one follows. */
export interface Part<T> {
  readonly entries: readonly T[]
  readonly last: string
  readonly more: boolean
}

/** @throws {LayerswarmError} REQUEST_INVALID for a cursor that was not given out */
export function pageAt(cursor: string | undefined, limit = PAGE_ENTRIES): FleetPage {
  const keys = cursor === undefined ? LISTS.map(() => '') : readCursor(cursor)
  const [hosts = '', blobs = '', leases = ''] = keys
  return { after: { hosts, blobs, leases }, limit }
}

/**
 * The part of a list that a page has. Entries go by their keys: one that is there all the time is on exactly one page,
 * whatever comes and goes meanwhile.
 */
export function partOf<T>(all: Iterable<T>, list: List, { after, limit }: FleetPage, key: (entry: T) => string): Part<T> {
  const rest: { readonly key: string; readonly entry: T }[] = []
  for (const entry of all) {
    const at = key(entry)
    if (at > after[list]) rest.push({ key: at, entry })
  }
  rest.sort((a, b) => (a.key < b.key ? -1 : 1))
  const taken = rest.slice(0, limit)
  return { entries: taken.map(({ entry }) => entry), last: taken.at(-1)?.key ?? after[list], more: rest.length > limit }
}

/** What names the page after the one that these parts are; undefined where nothing is left. */
export function cursorAfter(parts: Readonly<Record<List, Part<unknown>>>): string | undefined {
  if (!LISTS.some((list) => parts[list].more)) return undefined
  return Buffer.from(JSON.stringify(LISTS.map((list) => parts[list].last))).toString('base64url')
}

function readCursor(cursor: string): string[] {
  try {
    const keys: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString())
    if (Array.isArray(keys) && keys.length === LISTS.length && keys.every((key) => typeof key === 'string')) return keys
  } catch {
    // Told below.
  }
  throw new LayerswarmError('REQUEST_INVALID', { detail: 'cursor: give what `next` of the page before says' })
}
