import assert from 'node:assert/strict'
import type { BlobReader, BlobStore, PartialBlob } from '@layerswarm/agent/ports.ts'
import type { Claim } from '@layerswarm/core/claims.ts'
import { isLayerswarmError, type LayerswarmError } from '@layerswarm/core/errors.ts'
import { RUN_PIECES } from '@layerswarm/core/piece-layout.ts'
import type { FixtureBlob } from './blob-fixtures.ts'

/** Largest chunk that a reader may be given. */
export const CHUNK_BOUND = 1024 * 1024
/** Bytes of a blob of six pieces, the last of them short. */
export const SEVERAL = 5 * 256 * 1024 + 77

/** The bytes `start … end - 1` of a reader. */
export async function readAll(reader: BlobReader, start = 0, end = reader.layout.size): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  for await (const chunk of reader.read({ start, end })) {
    assert.ok(chunk.byteLength > 0 && chunk.byteLength <= CHUNK_BOUND)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** Writes pieces (all, unless named) with their hash expected. */
export async function writeAll(partial: PartialBlob, blob: FixtureBlob, pieces?: Iterable<number>): Promise<void> {
  for (const piece of pieces ?? Array(blob.layout.pieces).keys()) await partial.write(piece, blob.piece(piece), [blob.hash(piece)])
}

/** Puts a whole blob into a store. */
export async function addBlob(store: BlobStore, blob: FixtureBlob): Promise<void> {
  await using partial = await store.begin(blob.digest, blob.layout)
  await writeAll(partial, blob)
  await partial.commit()
}

/** Compares bytes without printing them. */
export function equal(actual: Uint8Array | undefined, expected: Uint8Array): void {
  assert.ok(actual !== undefined && Buffer.compare(actual, expected) === 0, 'the bytes differ')
}

/** For assert.rejects. */
export function fails(code: LayerswarmError['code']) {
  return (error: unknown) => isLayerswarmError(error, code)
}

/** A claim with a lease on the first run of a blob; its signatures are not real. */
export function claimOf(blob: FixtureBlob, author: string): Claim {
  const lease = { blob: blob.digest, run: 0, holder: author, serial: 3, by: 'tracker', sig: new Uint8Array([1, 2]) }
  const hashes = blob.map.slice(0, RUN_PIECES * 32)
  return { blob: blob.digest, first: 0, hashes, author, lease, sig: Buffer.from(`signed by ${author}`) }
}

/** What a store says of a blob, but for the time. */
export async function statOf(store: BlobStore, blob: FixtureBlob) {
  const stat = await store.stat(blob.digest)
  assert.ok(stat)
  const { usedAt, ...rest } = stat
  assert.ok(usedAt > 0)
  return rest
}
