import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Digest } from '../../src/digest.ts'
import type { Descriptor } from '../../src/image/manifest.ts'
import { choosePlatform, formatPlatform, hostPlatform, parsePlatform } from '../../src/image/platform.ts'

function offers(...names: (string | undefined)[]): Descriptor[] {
  return names.map((name, at) => ({
    mediaType: 'm',
    size: 1,
    digest: `sha256:${String(at).padStart(64, '0')}` as Digest,
    ...(name === undefined
      ? {}
      : { platform: { os: name.split('/')[0] ?? '', architecture: name.split('/')[1] ?? '', variant: name.split('/')[2] } })
  }))
}

describe('the best offer for a platform', () => {
  for (const [wanted, list, best] of [
    ['linux/amd64', ['linux/arm64', 'linux/amd64'], 1],
    ['linux/x86_64', ['linux/amd64'], 0],
    ['linux/amd64', ['linux/amd64', 'linux/amd64'], 0],
    ['linux/amd64', ['linux/386', 'linux/amd64'], 1],
    ['linux/amd64', ['linux/386'], 0],
    ['linux/amd64', ['linux/amd64/v2'], undefined],
    ['linux/amd64/v3', ['linux/amd64', 'linux/amd64/v2', 'linux/amd64/v4'], 1],
    ['linux/386', ['linux/amd64'], undefined],
    ['linux/arm64', ['linux/arm/v7', 'linux/aarch64'], 1],
    ['linux/arm64', ['linux/arm/v6', 'linux/arm/v7'], 1],
    ['linux/arm64/v9', ['linux/arm64', 'linux/arm/v8'], 0],
    ['linux/arm64', ['linux/arm64/v9'], undefined],
    ['linux/arm64/8', ['linux/arm64/v8'], 0],
    ['linux/arm/v7', ['linux/arm/v5', 'linux/arm/v6', 'linux/arm64'], 1],
    ['linux/arm', ['linux/arm/v6', 'linux/arm'], 1],
    ['linux/armhf', ['linux/arm/v6', 'linux/arm/v7'], 1],
    ['linux/arm/v6', ['linux/arm/v7'], undefined],
    ['linux/amd64', ['unknown/unknown', undefined, 'windows/amd64'], undefined],
    ['linux/riscv64', ['linux/riscv64'], 0]
  ] as const) {
    test(`${wanted} of ${list.join(', ')}`, () => {
      const given = offers(...list)
      assert.equal(choosePlatform(parsePlatform(wanted), given), best === undefined ? undefined : given[best])
    })
  }

  test('of Windows by the beginning of its version', () => {
    const given = offers('windows/amd64', 'windows/amd64').map((offer, at) => ({
      ...offer,
      platform: { os: 'windows', architecture: 'amd64', 'os.version': ['10.0.17763.1', '10.0.20348.2'][at] ?? '' }
    }))
    const wanted = { os: 'windows', architecture: 'amd64', 'os.version': '10.0.20348' }
    assert.equal(choosePlatform(wanted, given), given[1])
  })
})

test('platforms are written with the variant only where it says something', () => {
  assert.equal(formatPlatform(parsePlatform('linux/arm64/v8')), 'linux/arm64')
  assert.equal(formatPlatform(parsePlatform('Linux/ARM/v6')), 'linux/arm/v6')
  assert.equal(formatPlatform(parsePlatform('macos/x86_64')), 'darwin/amd64')
})

test('what is no platform', () => {
  for (const text of ['', 'linux', 'linux/', '/amd64', 'linux/amd64/v1/x', 'a b/c']) {
    assert.throws(() => parsePlatform(text), { code: 'PLATFORM_UNKNOWN' }, text)
  }
})

test('this host runs what is made for it', () => {
  const [own] = offers(formatPlatform(hostPlatform()))
  assert.equal(choosePlatform(hostPlatform(), own === undefined ? [] : [own]), own)
})
