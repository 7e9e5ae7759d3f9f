/**
 * Options come from, in order of increasing priority: defaults, the TOML file, the environment, flags. A list given in
 * one place replaces the list of a lower one. Everything wrong is reported at once, each with the place it came from.
 */
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { parse, TomlError } from 'smol-toml'
import { describeError, LayerswarmError } from '../errors.ts'
import { nearest } from './nearest.ts'
import { envName, flagName, type Given, type HostFacts, hostFacts, type OptionSet, type OptionSpec } from './options.ts'

/** Where a value came from. */
export interface Origin {
  readonly kind: 'default' | 'file' | 'environment' | 'flag'
  /** The file's path, the variable or the flag; empty for a default. */
  readonly name: string
}

export interface Loaded<C extends object> {
  readonly config: C
  readonly origins: { readonly [K in keyof C]: Origin }
  /** The file that was read. */
  readonly file: string | undefined
}

/** What flags gave: texts by field name. Undefined counts as not given. */
export type Flags = Readonly<Record<string, string | readonly string[] | undefined>>

interface Sources {
  readonly flags?: Flags
  readonly file?: { readonly path: string; readonly text: string }
  readonly facts?: HostFacts
}

/** Set in every environment by the `--config` option itself. */
const CONFIG_VARIABLE = 'LAYERSWARM_CONFIG'
/** What commands about a fleet show to its tracker: no option of a daemon. */
export const TOKEN_VARIABLE = 'LAYERSWARM_TOKEN'

/** Kubernetes puts variables of this form into every pod of a namespace that has a service called layerswarm…. */
const SERVICE_VARIABLE = /(?:^|_)(?:SERVICE_(?:HOST|PORT)(?:_\w+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)$/

interface Raw {
  readonly value: unknown
  readonly origin: Origin
}

/**
 * The effective options, from sources that are at hand.
 * @throws {LayerswarmError} CONFIG_INVALID with every problem, or what the option set's own rules throw.
 */
export function resolveConfig<C extends object>(set: OptionSet<C>, sources: Sources = {}): Loaded<C> {
  const { flags = {}, file, facts = hostFacts() } = sources
  const problems: string[] = []
  const raw = new Map<string, Raw>([
    ...fromFile(set, file, problems),
    ...fromEnvironment(set, facts.env, problems),
    ...fromFlags(set, flags)
  ])

  const specs = Object.entries(set.specs) as [string, OptionSpec<unknown>][]
  const given: Record<string, unknown> = {}
  for (const [field, { value, origin }] of raw) {
    const parsed = (set.specs as Record<string, OptionSpec<unknown>>)[field]?.schema.safeParse(value)
    if (parsed?.success) given[field] = parsed.data
    for (const issue of parsed?.error?.issues ?? []) problems.push(`${place(field, origin)}: ${issue.message}`)
  }
  if (problems.length > 0) throw new LayerswarmError('CONFIG_INVALID', { detail: problems.join('\n  ') })

  const config = Object.fromEntries(specs.map(([field, spec]) => [field, effective(field, spec, given, facts)]))
  const origins = Object.fromEntries(specs.map(([field]) => [field, raw.get(field)?.origin ?? { kind: 'default', name: '' }]))
  return { config: set.finish(config as C), origins: origins as Loaded<C>['origins'], file: file?.path }
}

/**
 * The effective options of this process. The file is the one that `--config` or LAYERSWARM_CONFIG names, else
 * `/etc/layerswarm/NAME.toml` where it exists.
 * @throws {LayerswarmError} CONFIG_INVALID, or what the option set's own rules throw.
 */
export async function loadConfig<C extends object>(
  set: OptionSet<C>,
  options: { flags?: Flags; config?: string | undefined; facts?: HostFacts; folder?: string } = {}
): Promise<Loaded<C>> {
  const { flags = {}, facts = hostFacts(), folder = '/etc/layerswarm' } = options
  const named = options.config ?? (facts.env[CONFIG_VARIABLE] || undefined)
  const path = resolve(named ?? `${folder}/${set.name}.toml`)
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (named === undefined && (error.code === 'ENOENT' || error.code === 'ENOTDIR')) return undefined
    throw new LayerswarmError('CONFIG_INVALID', { detail: `${path} cannot be read`, cause: error })
  })
  return resolveConfig(set, { flags, facts, ...(text === undefined ? {} : { file: { path, text } }) })
}

function effective(field: string, spec: OptionSpec<unknown>, given: Given, facts: HostFacts): unknown {
  return field in given ? given[field] : spec.default(given, facts)
}

function place(field: string, { kind, name }: Origin): string {
  return kind === 'file' ? `${flagName(field)} in ${name}` : name
}

function* fromFile<C extends object>(set: OptionSet<C>, file: Sources['file'], problems: string[]): Iterable<[string, Raw]> {
  if (file === undefined) return
  const origin: Origin = { kind: 'file', name: file.path }
  const fields = new Map(Object.keys(set.specs).map((field) => [flagName(field), field]))
  for (const [key, value] of Object.entries(parseToml(file))) {
    const field = fields.get(key)
    if (field === undefined) problems.push(`${file.path} has an unknown key ${key}; did you mean ${nearest(key, [...fields.keys()])}?`)
    else yield [field, { value: isRepeatable(set, field) && !Array.isArray(value) ? [value] : value, origin }]
  }
}

function parseToml({ path, text }: { path: string; text: string }): Record<string, unknown> {
  try {
    return parse(text)
  } catch (error) {
    if (!(error instanceof TomlError)) throw error
    // The library's message goes on with a drawing of the line; its first line says what is wrong.
    const reason = describeError(error).split('\n')[0]
    throw new LayerswarmError('CONFIG_INVALID', { detail: `${path}, line ${error.line}, column ${error.column}: ${reason}` })
  }
}

/** An empty variable counts as not set: that is how units and compose files switch one off. */
function* fromEnvironment<C extends object>(set: OptionSet<C>, env: HostFacts['env'], problems: string[]): Iterable<[string, Raw]> {
  const fields = new Map(Object.keys(set.specs).map((field) => [envName(field), field]))
  for (const [name, text] of Object.entries(env)) {
    if (!name.startsWith('LAYERSWARM_') || text === undefined || text === '') continue
    if (name === CONFIG_VARIABLE || name === TOKEN_VARIABLE) continue
    const field = fields.get(name)
    const origin: Origin = { kind: 'environment', name }
    if (field !== undefined) yield [field, { value: isRepeatable(set, field) ? text.split(',') : text, origin }]
    else if (!isServiceVariable(name, text)) problems.push(`unknown variable ${name}; did you mean ${nearest(name, [...fields.keys()])}?`)
  }
}

function isServiceVariable(name: string, text: string): boolean {
  return SERVICE_VARIABLE.test(name) || (name.endsWith('_PORT') && /^(?:tcp|udp|sctp):\/\//.test(text))
}

function* fromFlags<C extends object>(set: OptionSet<C>, flags: Flags): Iterable<[string, Raw]> {
  for (const field of Object.keys(set.specs)) {
    const value = flags[field]
    if (value !== undefined) yield [field, { value, origin: { kind: 'flag', name: `--${flagName(field)}` } }]
  }
}

function isRepeatable<C extends object>(set: OptionSet<C>, field: string): boolean {
  return set.specs[field as keyof C].repeatable
}
