import { resolve } from 'node:path'
import { z } from 'zod'

/** One kind of value: how it is written, read and written back. */
export interface Field<T> {
  /** How help names the value, for example `SIZE`. */
  readonly placeholder: string
  /** What a valid value is, ending the sentence "… is not …". */
  readonly syntax: string
  /** Reads a flag's text, or what TOML gives for it. */
  readonly schema: z.ZodType<T>
  /** Text that reads back as the same value. */
  readonly format: (value: T) => string
  /** What a flag without a value means; absent where it needs one. */
  readonly bare?: 'true'
}

interface FieldText<T> {
  readonly placeholder: string
  readonly syntax: string
  /** @returns undefined for text that is not such a value. */
  readonly parse: (text: string) => T | undefined
  readonly format: (value: T) => string
}

/** A field whose values are text, or in TOML also plain numbers, where their text is valid. */
export function textField<T>({ placeholder, syntax, parse, format }: FieldText<T>): Field<T> {
  const schema = z
    .union([z.string(), z.number()], { error: (issue) => `${JSON.stringify(issue.input)} is not ${syntax}` })
    .transform((input, context): T => {
      const value = parse(String(input).trim())
      if (value === undefined) {
        context.addIssue({ code: 'custom', message: `"${input}" is not ${syntax}` })
        return z.NEVER
      }
      return value
    })
  return { placeholder, syntax, schema, format }
}

/** A name for people: printable, so that it can stand in a log line or a table. */
export const nameText = textField<string>({
  placeholder: 'NAME',
  syntax: 'a name of 1 to 255 printable characters',
  parse: (text) => (/^\P{C}{1,255}$/u.test(text) ? text : undefined),
  format: (value) => value
})

/** A path, made absolute from where the command was started. */
export function path(placeholder: 'FILE' | 'DIR'): Field<string> {
  return textField<string>({
    placeholder,
    syntax: 'a path',
    parse: (text) => (text === '' || text.includes('\0') ? undefined : resolve(text)),
    format: (value) => value
  })
}

export function oneOf<const T extends string>(choices: readonly T[], placeholder = choices.join('|')): Field<T> {
  return textField<T>({
    placeholder,
    syntax: `one of ${choices.join(', ')}`,
    parse: (text) => choices.find((choice) => choice === text),
    format: (value) => value
  })
}

/** A switch: the flag alone turns it on. */
export const onOff: Field<boolean> = {
  placeholder: 'true|false',
  syntax: 'true or false',
  schema: z
    .union([z.boolean(), z.enum(['true', 'false'])], { error: (issue) => `${JSON.stringify(issue.input)} is not true or false` })
    .transform((input) => input === true || input === 'true'),
  format: String,
  bare: 'true'
}
