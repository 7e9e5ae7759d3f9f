import { homedir, hostname } from 'node:os'
import { z } from 'zod'
import type { Field } from './fields.ts'

/** What defaults may depend on besides other options. */
export interface HostFacts {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly root: boolean
  readonly home: string
  readonly hostname: string
  /** Logs go to a terminal. */
  readonly terminal: boolean
}

export function hostFacts(): HostFacts {
  return {
    env: process.env,
    root: process.getuid?.() === 0,
    home: homedir(),
    hostname: hostname(),
    terminal: process.stderr.isTTY === true
  }
}

/** The options that were set, by field name. */
export type Given = Readonly<Record<string, unknown>>

/** One option of a daemon, however it is set. */
export interface OptionSpec<V> {
  readonly help: string
  readonly placeholder: string
  readonly syntax: string
  readonly repeatable: boolean
  /** What the flag alone means; undefined where it needs a value. */
  readonly bare: 'true' | undefined
  readonly schema: z.ZodType<V>
  /** The texts that set this value; none for an option that is not set. */
  readonly format: (value: V) => readonly string[]
  readonly default: (given: Given, facts: HostFacts) => V
  /** The default for help and reference; undefined where there is none. */
  readonly defaultText: string | undefined
}

/** Options of one daemon, and the rules that span several of them. */
export interface OptionSet<C extends object> {
  /** Names the default file, `/etc/layerswarm/NAME.toml`. */
  readonly name: string
  readonly specs: { readonly [K in keyof C]: OptionSpec<C[K]> }
  /** @throws {LayerswarmError} where values contradict each other. */
  readonly finish: (config: C) => C
}

export type ConfigOf<S> = { readonly [K in keyof S]: S[K] extends OptionSpec<infer V> ? V : never }

/** A default that depends on other options or on the host, and how help tells it. */
export interface DerivedDefault<V> {
  readonly text: string
  readonly from: (given: Given, facts: HostFacts) => V
}

/** An option that always has a value. */
export function option<T>(field: Field<T>, help: string, fallback: T): OptionSpec<T> {
  return derived(field, help, { text: field.format(fallback), from: () => fallback })
}

/** An option whose default depends on other options or on the host. */
export function derived<T>(field: Field<T>, help: string, fallback: DerivedDefault<T>): OptionSpec<T> {
  return {
    ...shared(field, help),
    repeatable: false,
    schema: field.schema,
    format: (value) => [field.format(value)],
    default: fallback.from,
    defaultText: fallback.text
  }
}

/** An option that may be left out. */
export function optional<T>(field: Field<T>, help: string, defaultText?: string): OptionSpec<T | undefined> {
  return {
    ...shared(field, help),
    repeatable: false,
    schema: field.schema,
    format: (value) => (value === undefined ? [] : [field.format(value)]),
    default: () => undefined,
    defaultText
  }
}

/** An option that may be given several times: a TOML array, a comma-separated environment variable. */
export function list<T>(field: Field<T>, help: string, fallback?: DerivedDefault<readonly T[]>): OptionSpec<readonly T[]> {
  return {
    ...shared(field, help),
    repeatable: true,
    schema: z.array(field.schema, { error: `must be a list, each ${field.syntax}` }),
    format: (values) => values.map(field.format),
    default: fallback?.from ?? (() => []),
    defaultText: fallback?.text
  }
}

function shared<T>(field: Field<T>, help: string) {
  return { help, placeholder: field.placeholder, syntax: field.syntax, bare: field.bare }
}

/** `mirrorListen` → `mirror-listen`: the flag without dashes and the TOML key. */
export function flagName(field: string): string {
  return field.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}

/** `mirrorListen` → `LAYERSWARM_MIRROR_LISTEN`. */
export function envName(field: string): string {
  return `LAYERSWARM_${flagName(field).replaceAll('-', '_').toUpperCase()}`
}
