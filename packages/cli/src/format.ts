const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'] as const

/** Bytes for people, in powers of 1000 with three digits or so: `0 B`, `34.2 MB`, `1.00 GB`. */
export function formatBytes(bytes: number): string {
  let value = bytes
  let unit = 0
  // 999,950 bytes would be shown as 1000.0 kB.
  while (value >= 999.95 && unit < UNITS.length - 1) {
    value /= 1000
    unit++
  }
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 2 : 1)} ${UNITS[unit]}`
}

/** The first twelve hex digits, as container tools show digests. */
export function shortHex(digest: string): string {
  return digest.slice(digest.indexOf(':') + 1).slice(0, 12)
}
