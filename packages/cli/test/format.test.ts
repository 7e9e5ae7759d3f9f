import assert from 'node:assert/strict'
import { it } from 'node:test'
import { formatBytes, shortHex } from '../src/format.ts'

it('writes bytes with about three digits', () => {
  const table: [number, string][] = [
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1.00 kB'],
    [12_345, '12.3 kB'],
    [999_949, '999.9 kB'],
    [999_950, '1.00 MB'],
    [256 * 2 ** 20, '268.4 MB'],
    [1.5e12, '1.50 TB'],
    [2e15, '2000.0 TB']
  ]
  for (const [bytes, text] of table) assert.equal(formatBytes(bytes), text)
})

it('shortens digests as container tools do', () => {
  assert.equal(shortHex(`sha256:${'0123456789abcdef'.repeat(4)}`), '0123456789ab')
})
