import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { isLayerswarmError } from '@layerswarm/core/errors.ts'
import { OCTETS } from '@layerswarm/core/image/manifest.ts'
import { fixtureBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import type { ContentRef, RegistryContent } from '../../src/ports.ts'
import { PassThroughContent } from '../../src/swarm/pass-through.ts'
import { bytesOf } from './swarm-bench.ts'

const blob = fixtureBlob(1000)
const CHUNK = 100

/** The blob's content where the registry sends `bytes`. */
function content(bytes: Uint8Array, digest = blob.digest, size = 1000): PassThroughContent {
  const ref: ContentRef = { registry: 'r', repository: 'app', digest, kind: 'blob' }
  const registry = {
    async content(asked: ContentRef, range: unknown): Promise<RegistryContent> {
      assert.deepEqual([asked, range], [ref, undefined], 'the whole is needed for the proof')
      const body = async function* () {
        // One buffer for all, as a source may reuse its memory.
        const buffer = new Uint8Array(CHUNK)
        for (let at = 0; at < bytes.byteLength; at += CHUNK) {
          const chunk = bytes.subarray(at, at + CHUNK)
          buffer.set(chunk)
          yield buffer.subarray(0, chunk.byteLength)
        }
      }
      return { size, mediaType: OCTETS, range: { start: 0, end: size }, body: body() }
    }
  }
  return new PassThroughContent(ref, 1000, registry)
}

/** What a reader is given before it fails. */
async function given(content: PassThroughContent, range = { start: 0, end: 1000 }): Promise<{ bytes: Buffer; code: string | undefined }> {
  const chunks: Uint8Array[] = []
  try {
    for await (const chunk of content.read(range)) chunks.push(chunk.slice())
  } catch (error) {
    if (!isLayerswarmError(error)) throw error
    return { bytes: Buffer.concat(chunks), code: error.code }
  }
  return { bytes: Buffer.concat(chunks), code: undefined }
}

describe('content that passes through', () => {
  test('is what the registry sends, by either algorithm', async () => {
    await using plain = content(blob.bytes)
    assert.ok((await bytesOf(plain)).equals(blob.bytes))
    assert.deepEqual([plain.size, plain.counts()], [1000, { local: 0, peer: 0, registry: 1000 }])
    const long = fixtureBlob(1000, { algorithm: 'sha512' })
    assert.ok((await bytesOf(content(long.bytes, long.digest))).equals(long.bytes))
  })

  test('is read in ranges, wherever chunks begin', async () => {
    for (const [start, end] of [
      [0, 1],
      [99, 101],
      [150, 150],
      [250, 900],
      [999, 1000]
    ] as const) {
      const got = await given(content(blob.bytes), { start, end })
      assert.equal(got.code, undefined)
      assert.ok(got.bytes.equals(blob.bytes.subarray(start, end)), `${start} to ${end}`)
    }
  })

  test('of another digest is never given out to its end', async () => {
    const false_ = Uint8Array.from(blob.bytes)
    false_[5] = (false_[5] ?? 0) ^ 1
    for (const range of [
      { start: 0, end: 1000 },
      { start: 200, end: 500 },
      { start: 10, end: 20 }
    ]) {
      const { bytes, code } = await given(content(false_), range)
      assert.equal(code, 'DIGEST_MISMATCH')
      assert.ok(bytes.byteLength < range.end - range.start)
    }
  })

  test('that is too short, or goes on for too long, fails', async () => {
    assert.deepEqual(await given(content(blob.bytes.subarray(0, 950))), {
      bytes: Buffer.from(blob.bytes.subarray(0, 900)),
      code: 'SIZE_MISMATCH'
    })
    const longer = await given(content(Buffer.concat([blob.bytes, Buffer.alloc(50)])))
    assert.equal(longer.code, 'SIZE_MISMATCH')
    assert.ok(longer.bytes.byteLength < 1000)
  })
})
