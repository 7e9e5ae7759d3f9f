import assert from 'node:assert/strict'
import { it } from 'node:test'
import type { HeldImage } from '@layerswarm/core/api/images-api.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { IMAGE_COLUMNS } from '../src/image-table.ts'
import { tableText } from '../src/table.ts'

const IMAGE: HeldImage = {
  image: 'registry.example.com/platform/team/application:2025-11-24',
  digest: `sha256:${'ab'.repeat(32)}` as Digest,
  mediaType: 'application/vnd.oci.image.index.v1+json',
  state: 'complete',
  present: 3,
  required: 3,
  size: 5_000_000,
  held: 5_000_000
}
const PART: HeldImage = { ...IMAGE, image: 'docker.io/library/nginx:1', state: 'incomplete', present: 1, held: 1_000_000 }

it('prints all of it where the output is no terminal', () => {
  const [head, first, second] = tableText(IMAGE_COLUMNS, [IMAGE, PART], undefined).split('\n')
  assert.match(head ?? '', /^REF +TYPE +DIGEST +STATUS +SIZE$/)
  assert.deepEqual(first?.split(/ {2,}/), [IMAGE.image, IMAGE.mediaType, IMAGE.digest, 'complete (3/3)', '5.00 MB'])
  assert.deepEqual(second?.split(/ {2,}/), [PART.image, PART.mediaType, PART.digest, 'incomplete (1/3)', '1.00 MB/5.00 MB'])
})

it('fits the terminal, by shorter texts, fewer columns, and at last by cutting names at their front', () => {
  for (const width of [120, 80, 60]) {
    const lines = tableText(IMAGE_COLUMNS, [IMAGE, PART], width).trimEnd().split('\n')
    assert.equal(lines.length, 3)
    for (const line of lines) assert.ok(line.length <= width, `${width}: ${line}`)
    assert.match(lines[1] ?? '', /application:2025-11-24 .*complete \(3\/3\) +5\.00 MB$/)
  }
  assert.match(tableText(IMAGE_COLUMNS, [PART], 100), /nginx:1 {2}index {2}abababababab {2}incomplete/)
})

it('an image without its manifest has nobody knows how many parts', () => {
  const { required: _, ...missing } = { ...PART, state: 'missing' as const, present: 0, held: 0 }
  assert.match(tableText(IMAGE_COLUMNS, [missing], undefined), /missing \(0\/\?\)/)
})
