import { isDeepStrictEqual } from 'node:util'
import { parse } from 'smol-toml'
import { type AST, parseTOML } from 'toml-eslint-parser'

export type TomlValues = Readonly<Record<string, unknown>>

export interface TomlTable {
  readonly path: readonly string[]
  /** Where the line of its header begins, and where the line after it does. */
  readonly start: number
  readonly end: number
}

export interface TomlEntry {
  readonly path: readonly string[]
  /** Where its first line begins, and where the line after its last does. */
  readonly start: number
  readonly end: number
  /** The key as it is written, with its indentation. */
  readonly key: string
}

/** A TOML text: its values, and where its tables and entries are, in the order of the file. */
export interface TomlText {
  readonly values: TomlValues
  readonly tables: readonly TomlTable[]
  /** Those inside of inline tables and arrays of tables are left out. */
  readonly entries: readonly TomlEntry[]
}

/** @returns what is wrong with it, in one line, where it is not TOML */
export function readToml(text: string): TomlText | string {
  try {
    const values = parse(text, { integersAsBigInt: 'asNeeded' })
    const [root] = parseTOML(text).body
    const entries = [...root.body].flatMap((node) =>
      node.type === 'TOMLKeyValue'
        ? [entryOf(text, node, [])]
        : node.kind === 'standard'
          ? node.body.map((child) => entryOf(text, child, node.resolvedKey.map(String)))
          : []
    )
    const tables = root.body.filter((node) => node.type === 'TOMLTable').map((node) => tableOf(text, node))
    return { values, tables, entries }
  } catch (error) {
    return (error instanceof Error ? error.message : String(error)).split('\n')[0] ?? ''
  }
}

/** The value at a path; undefined where a part of it is missing or is no table. */
export function at(values: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>((value, key) => (isTable(value) && Object.hasOwn(value, key) ? value[key] : undefined), values)
}

/** Whether `after` is `before` with nothing but the value at `path` changed to `value`. */
export function differsOnlyAt(before: TomlValues, after: TomlValues, path: readonly string[], value: unknown): boolean {
  // Clones are plain objects: the parser's own are of another kind than those made here.
  return isDeepStrictEqual(structuredClone(withValue(before, path, value)), structuredClone(after))
}

export function isTable(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)
}

/** A table header's text for a path: `[plugins."io.containerd.grpc.v1.cri".registry]`. */
export function header(path: readonly string[]): string {
  return `[${path.map((key) => (/^[\w-]+$/.test(key) ? key : JSON.stringify(key))).join('.')}]`
}

function withValue(values: unknown, [key, ...rest]: readonly string[], value: unknown): unknown {
  if (key === undefined) return value
  const table = isTable(values) ? values : {}
  return { ...table, [key]: withValue(table[key], rest, value) }
}

function entryOf(text: string, node: AST.TOMLKeyValue, table: readonly string[]): TomlEntry {
  const start = lineStart(text, node.range[0])
  return { path: [...table, ...namesOf(node.key)], start, end: nextLine(text, node.range[1]), key: text.slice(start, node.key.range[1]) }
}

function tableOf(text: string, node: AST.TOMLTable): TomlTable {
  // Elements of arrays of tables carry an index, which is never a key that anybody asks for.
  return { path: node.resolvedKey.map(String), start: lineStart(text, node.range[0]), end: nextLine(text, node.key.range[1]) }
}

function namesOf(key: AST.TOMLKey): string[] {
  return key.keys.map((part) => (part.type === 'TOMLBare' ? part.name : part.value))
}

function lineStart(text: string, offset: number): number {
  return text.lastIndexOf('\n', offset - 1) + 1
}

function nextLine(text: string, offset: number): number {
  const end = text.indexOf('\n', offset)
  return end < 0 ? text.length : end + 1
}
