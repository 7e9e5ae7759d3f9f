import { type Field, textField } from './fields.ts'

const SIZE_UNITS: Readonly<Record<string, number>> = {
  '': 1,
  K: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40
}
const DURATION_UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

const NUMBER = String.raw`(\d+(?:\.\d+)?)`
const SIZE = new RegExp(`^${NUMBER}([KMGT]i?)?B?$`)
const BIT_RATE = new RegExp(`^${NUMBER}([KMGT]i?)?bit/s$`)
const DURATION = new RegExp(`^${NUMBER}(ms|s|m|h|d)$`)

/** Whole units only: half a byte is a typing mistake. Beyond 2^53 numbers are no longer exact. */
function whole(value: number): number | undefined {
  return Number.isSafeInteger(value) ? value : undefined
}

function scaled(match: RegExpExecArray | null, units: Readonly<Record<string, number>>, divisor = 1): number | undefined {
  if (match === null) return undefined
  // Decimal fractions of a unit are not exact in binary (2.3 * 1e9); what remains is far below one unit.
  const value = (Number(match[1]) * (units[match[2] ?? ''] ?? 1)) / divisor
  const nearest = Math.round(value)
  return whole(Math.abs(value - nearest) < 1e-6 * Math.max(1, Math.abs(nearest) * 1e-6) ? nearest : value)
}

function parseSize(text: string): number | undefined {
  return scaled(SIZE.exec(text), SIZE_UNITS)
}

/** The largest unit that divides the value, so that nothing is lost. */
function largestUnit(value: number, units: Readonly<Record<string, number>>): string {
  const fitting = Object.entries(units)
    .filter(([, factor]) => value % factor === 0 && value >= factor)
    .sort((a, b) => b[1] - a[1])
  const [unit, factor] = fitting[0] ?? ['', 1]
  return `${value / factor}${unit}`
}

/** Bytes. */
export const size: Field<number> = textField<number>({
  placeholder: 'SIZE',
  syntax: 'a size: a number of bytes, or with K, M, G, T (powers of 1000) or Ki, Mi, Gi, Ti, then an optional B, as 20GiB',
  parse: parseSize,
  format: (value) => largestUnit(value, SIZE_UNITS)
})

/** Bytes per second, at least 1. */
export const rate: Field<number> = textField<number>({
  placeholder: 'RATE',
  syntax: 'a rate: a size per second as 10MB/s, or bits per second as 80Mbit/s',
  parse: (text) => {
    const value = text.endsWith('bit/s')
      ? scaled(BIT_RATE.exec(text), SIZE_UNITS, 8)
      : text.endsWith('/s')
        ? parseSize(text.slice(0, -2))
        : undefined
    return value === 0 ? undefined : value
  },
  format: (value) => `${largestUnit(value, SIZE_UNITS)}B/s`
})

/** Milliseconds. */
export const duration: Field<number> = textField<number>({
  placeholder: 'DURATION',
  syntax: 'a duration: a number with ms, s, m, h or d, as 30s',
  parse: (text) => scaled(DURATION.exec(text), DURATION_UNITS),
  format: (value) => (value === 0 ? '0ms' : largestUnit(value, DURATION_UNITS))
})
