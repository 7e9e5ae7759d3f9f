/** Which manifest of an index suits a platform, in containerd's order of preference. */
import { arch, endianness, platform as osName } from 'node:os'
import { LayerswarmError } from '../errors.ts'
import type { Descriptor, Platform } from './manifest.ts'

const ARCHITECTURES: Readonly<Record<string, { architecture: string; variant?: string }>> = {
  x86_64: { architecture: 'amd64' },
  'x86-64': { architecture: 'amd64' },
  aarch64: { architecture: 'arm64' },
  armhf: { architecture: 'arm', variant: 'v7' },
  armel: { architecture: 'arm', variant: 'v6' },
  i386: { architecture: '386' },
  i486: { architecture: '386' },
  i586: { architecture: '386' },
  i686: { architecture: '386' },
  x86: { architecture: '386' }
}

/** The variant that is meant where none is written. */
const BASE_VARIANT: Readonly<Record<string, string>> = { amd64: 'v1', arm64: 'v8', arm: 'v7' }

/** Node's names for what images call otherwise. */
const NODE_ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386', mipsel: 'mipsle' }

/** Names in one spelling: lower case, Go's architecture names, a variant where the architecture has them. */
export function normalizePlatform(platform: Platform): Platform {
  const os = platform.os.toLowerCase() === 'macos' ? 'darwin' : platform.os.toLowerCase()
  const alias = ARCHITECTURES[platform.architecture.toLowerCase()]
  const architecture = alias?.architecture ?? platform.architecture.toLowerCase()
  const written = platform.variant
    ?.toLowerCase()
    .replace(/^(?=\d)/, 'v')
    .replace(/\.0$/, '')
  const variant = (written === '' ? undefined : written) ?? alias?.variant ?? BASE_VARIANT[architecture]
  const version = platform['os.version']
  return { os, architecture, ...(variant === undefined ? {} : { variant }), ...(version === undefined ? {} : { 'os.version': version }) }
}

/** What images for this host are called. Where containers run in a virtual machine (macOS), they are Linux's. */
export function hostPlatform(): Platform {
  const own = arch() === 'ppc64' && endianness() === 'LE' ? 'ppc64le' : (NODE_ARCHITECTURES[arch()] ?? arch())
  return normalizePlatform({ os: osName() === 'win32' ? 'windows' : 'linux', architecture: own })
}

/**
 * Reads `os/architecture[/variant]`.
 * @throws {LayerswarmError} PLATFORM_UNKNOWN
 */
export function parsePlatform(text: string): Platform {
  const match = /^([a-zA-Z0-9]+)\/([a-zA-Z0-9_-]+)(?:\/([a-zA-Z0-9.]+))?$/.exec(text)
  if (match?.[1] === undefined || match[2] === undefined) throw new LayerswarmError('PLATFORM_UNKNOWN', { detail: text.slice(0, 100) })
  return normalizePlatform({ os: match[1], architecture: match[2], variant: match[3] })
}

export function formatPlatform(platform: Platform): string {
  const { os, architecture, variant } = normalizePlatform(platform)
  return variant === undefined || variant === BASE_VARIANT[architecture] ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`
}

function variantNumber(variant: string | undefined): number {
  const match = /^v(\d+)(?:\.(\d+))?$/.exec(variant ?? '')
  return match === null ? Number.NaN : Number(match[1]) + Number(match[2] ?? 0) / 100
}

/** Smaller is better; undefined when `offer` does not run on `wanted`. Families rank after every variant of the own one. */
function rank(wanted: Platform, offer: Platform): number | undefined {
  if (offer.os !== wanted.os) return undefined
  const version = wanted['os.version']
  if (version !== undefined && offer['os.version'] !== undefined && !offer['os.version'].startsWith(version)) return undefined
  const own = variantNumber(wanted.variant)
  const other = variantNumber(offer.variant)
  const FAMILY = 1000
  if (offer.architecture === wanted.architecture) {
    if (offer.variant === wanted.variant) return 0
    return other <= own ? own - other : undefined
  }
  if (wanted.architecture === 'amd64' && offer.architecture === '386') return FAMILY
  if (wanted.architecture === 'arm64' && offer.architecture === 'arm' && other <= 8) return FAMILY + 8 - other
  return undefined
}

/**
 * The entry of an index that suits `wanted` best: the same variant, then lower ones, then an older family; the first
 * in file order among equals. Entries for `unknown` systems (attestations) and without a platform never match.
 */
export function choosePlatform(wanted: Platform, offers: readonly Descriptor[]): Descriptor | undefined {
  const target = normalizePlatform(wanted)
  let best: { offer: Descriptor; rank: number } | undefined
  for (const offer of offers) {
    if (offer.platform === undefined) continue
    const at = rank(target, normalizePlatform(offer.platform))
    if (at !== undefined && (best === undefined || at < best.rank)) best = { offer, rank: at }
  }
  return best?.offer
}
