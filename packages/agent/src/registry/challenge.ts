/** One way in that a registry offers. Names of schemes and parameters are in lower case. */
export interface Challenge {
  readonly scheme: string
  readonly parameters: Readonly<Record<string, string>>
}

const SEPARATOR = /[\s,]*/y
const NAME = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y
const EQUALS = /\s*=\s*/y
const QUOTED = /"((?:[^"\\]|\\.)*)"/y
const TOKEN68 = /[ \t]+[A-Za-z0-9._~+/-]+=*[ \t]*(?=,|$)/y
const REST_OF_ITEM = /[^,]*/y

/**
 * Reads every challenge of WWW-Authenticate (RFC 9110 §11.6.1): several headers, or several challenges in one, where
 * commas separate challenges, parameters and may stand in quoted strings. What cannot be read is skipped.
 */
export function parseChallenges(header: string | readonly string[] | undefined): Challenge[] {
  const text = typeof header === 'string' ? header : (header ?? []).join(', ')
  const challenges: { scheme: string; parameters: Record<string, string> }[] = []
  let at = 0
  const take = (pattern: RegExp): RegExpExecArray | undefined => {
    pattern.lastIndex = at
    const match = pattern.exec(text)
    if (match === null) return undefined
    at = pattern.lastIndex
    return match
  }
  for (;;) {
    take(SEPARATOR)
    if (at >= text.length) return challenges
    const name = take(NAME)?.[0].toLowerCase()
    const current = challenges.at(-1)
    if (name === undefined) {
      take(REST_OF_ITEM)
      at++
    } else if (take(EQUALS) === undefined) {
      challenges.push({ scheme: name, parameters: {} })
      take(TOKEN68)
    } else {
      const quoted = take(QUOTED)
      const value = quoted === undefined ? take(NAME)?.[0] : quoted[1]?.replaceAll(/\\(.)/g, '$1')
      if (current !== undefined && value !== undefined) current.parameters[name] ??= value
      if (value === undefined) take(REST_OF_ITEM)
    }
  }
}
