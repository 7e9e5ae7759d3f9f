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

/** `1 blob`, `2 blobs`. */
export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

/** Time in one unit, as lists show ages: `5 s`, `3 min`, `2 h`, `12 d`. @param ms milliseconds */
export function formatAge(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`
  return seconds < 86_400 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} d`
}
