import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type Claim, encodeClaim, signClaim, signLease } from '@layerswarm/core/claims.ts'
import { newIdentity } from '@layerswarm/core/p2p/identity.ts'
import { layoutOf } from '@layerswarm/core/piece-layout.ts'
import { fixtureBlob } from '@layerswarm/testkit/blob-fixtures.ts'
import { ClaimBook } from '../../src/swarm/claim-book.ts'
import { digestNamed, PIECE_BYTES, range } from './test-host.ts'

const blob = fixtureBlob(20 * PIECE_BYTES)
const [author, tracker, stranger] = await Promise.all([newIdentity(), newIdentity(), newIdentity()])

async function claim(options: {
  first?: number
  pieces?: number
  run?: number
  by?: typeof tracker
  of?: typeof blob.digest
  hash?: Uint8Array
  from?: typeof author
  lease?: boolean
}): Promise<Claim> {
  const { first = 0, pieces = 1, run = Math.floor(first / 8), by = tracker, of = blob.digest, from = author } = options
  const hashes = options.hash ?? Buffer.concat(range(first, pieces).map((piece) => blob.hash(piece % 20)))
  const lease = await signLease(by.key, { blob: of, run, holder: from.id, serial: 1, by: by.id })
  return await signClaim(from.key, { blob: of, first, hashes, author: from.id, ...(options.lease !== false && { lease }) })
}

function book(trust: { connected?: boolean; disputed?: boolean } = {}): ClaimBook {
  return new ClaimBook(blob.digest, blob.layout, { trusted: new Set([tracker.id]), connected: true, ...trust })
}

/** @returns those of `claims` that the book says are new */
function add(kept: ClaimBook, claims: readonly Claim[]): Claim[] {
  const hex = (claim: Claim) => Buffer.from(encodeClaim(claim)).toString('hex')
  const news = new Set(kept.add(claims.map(encodeClaim)).map(hex))
  return [...new Set(claims)].filter((claim) => news.has(hex(claim)))
}

describe('claims', () => {
  test('that hold say what each piece must be', async () => {
    const kept = book()
    const good = await claim({ first: 8, pieces: 3 })
    assert.deepEqual(add(kept, [good]), [good])
    for (const piece of [8, 9, 10])
      assert.deepEqual(
        kept.expected(piece)?.map((hash) => Buffer.from(hash)),
        [Buffer.from(blob.hash(piece))]
      )
    assert.equal(kept.expected(11), undefined)
    assert.deepEqual([...kept.claimed()], [8, 9, 10])
    assert.deepEqual([...kept.authors], [author.id])
  })

  test('that do not hold are not kept', async () => {
    const good = await claim({})
    const wrong: Record<string, Claim> = {
      'changed after it was signed': { ...good, hashes: blob.hash(5) },
      'signed by another than its author': { ...good, author: stranger.id },
      'under a lease of a tracker that is not ours': await claim({ by: stranger }),
      'under a lease of another run': await claim({ first: 9, run: 0 }),
      'under a lease of another host': { ...good, lease: (await claim({ from: stranger })).lease },
      'across the end of a run': await claim({ first: 6, pieces: 4, run: 0 }),
      'of another blob': await claim({ of: digestNamed('other') }),
      'beyond the last piece': await claim({ first: 19, pieces: 2 }),
      'without a lease': await claim({ lease: false })
    }
    for (const [why, bad] of Object.entries(wrong)) {
      const kept = book()
      assert.deepEqual(add(kept, [bad]), [], why)
      assert.equal(kept.expected(bad.first), undefined, why)
    }
  })

  test('need no lease where there is no tracker', async () => {
    const alone = await claim({ lease: false })
    assert.deepEqual(add(book({ connected: false }), [alone]), [alone])
  })

  test('are checked once: what is known, or was found bad, costs nothing again', async () => {
    const kept = book()
    const good = await claim({})
    assert.equal(add(kept, [good, good]).length, 1)
    assert.deepEqual(add(kept, [good]), [])
    const bad = await claim({ first: 3, by: stranger })
    let looks = 0
    const watched = new Proxy(bad, {
      get(target, key) {
        if (key === 'lease') looks++
        return Reflect.get(target, key)
      }
    })
    add(kept, [watched])
    const once = looks
    assert.ok(once > 0)
    add(kept, [watched])
    assert.equal(looks, once)
  })

  test('that contradict each other are all kept, up to four for a piece', async () => {
    const kept = book()
    const hashes = range(0, 6).map((n) => Buffer.alloc(32, n))
    const claims = await Promise.all(hashes.map(async (hash) => await claim({ first: 2, hash, from: await newIdentity() })))
    assert.equal(add(kept, claims).length, 4, 'what is not kept is not passed on')
    assert.deepEqual(
      kept.expected(2)?.map((hash) => Buffer.from(hash)),
      hashes.slice(0, 4)
    )
    assert.equal(kept.authors.size, 4)
  })

  test('of this host’s own need no check, and are no news when they come back', async () => {
    const kept = book()
    const own = await claim({ lease: false })
    kept.addOwn(own)
    assert.equal(kept.claimed().count, 1)
    assert.deepEqual(add(kept, [own]), [])
  })

  test('of one author count once for a piece, so that nobody can keep others out', async () => {
    const kept = book()
    const flood = await Promise.all(range(0, 6).map((n) => claim({ first: 2, hash: Buffer.alloc(32, n) })))
    assert.deepEqual(add(kept, flood), flood.slice(0, 1))
    assert.equal(add(kept, [await claim({ first: 2, from: stranger })]).length, 1)
    assert.equal(kept.expected(2)?.length, 2)
  })

  test('that the true map contradicts are found, one for each author', async () => {
    const kept = book()
    const lies = await Promise.all([3, 4].map((first) => claim({ first, hash: Buffer.alloc(32, 1) })))
    add(kept, [...lies, await claim({ first: 3, from: stranger }), await claim({ first: 5, pieces: 2 })])
    const found = kept.contradicting(blob.map)
    assert.deepEqual(
      found.map((one) => one.author),
      [author.id]
    )
    assert.ok([3, 4].includes(found[0]?.first ?? -1))
  })

  test('count once two hosts say the same when the blob is in dispute; one host’s map does not', async () => {
    const kept = book({ disputed: true })
    add(kept, [await claim({ hash: Buffer.alloc(32, 9) }), await claim({ from: stranger })])
    assert.deepEqual([kept.expected(0), kept.claimed().count], [undefined, 0])
    add(kept, [await claim({ from: await newIdentity() })])
    assert.deepEqual(
      kept.expected(0)?.map((hash) => Buffer.from(hash).equals(blob.hash(0))),
      [true, true]
    )
    assert.deepEqual([...kept.claimed()], [0])
    assert.equal(kept.setMap(blob.map, false), false)
    assert.equal(kept.setMap(blob.map, true), true)
  })
})

describe('the map', () => {
  test('comes before claims; a proven one replaces a word, and nothing replaces it', async () => {
    const kept = book()
    add(kept, [await claim({ first: 1, hash: Buffer.alloc(32, 9) })])
    const word = Buffer.alloc(blob.map.byteLength, 1)
    assert.equal(kept.setMap(word, false), true)
    assert.deepEqual([kept.hasMap, kept.mapProven], [true, false])
    assert.equal(Buffer.from(kept.expected(1)?.[0] ?? []).equals(Buffer.alloc(32, 1)), true)
    assert.equal(kept.setMap(blob.map, false), false, 'a second word')
    assert.equal(kept.setMap(blob.map, true), true)
    assert.equal(kept.mapProven, true)
    assert.equal(Buffer.from(kept.expected(1)?.[0] ?? []).equals(blob.hash(1)), true)
    assert.equal(kept.setMap(word, true), false)
    assert.equal(kept.setMap(word, false), false)
  })

  test('of another length is refused', () => {
    const kept = book()
    assert.equal(kept.setMap(blob.map.subarray(32), true), false)
    assert.equal(kept.hasMap, false)
  })

  test('that is dropped leaves the claims', async () => {
    const kept = book()
    add(kept, [await claim({ first: 4 })])
    kept.setMap(Buffer.alloc(blob.map.byteLength), false)
    kept.dropMap()
    assert.deepEqual([kept.hasMap, kept.expected(0), kept.expected(4)?.length], [false, undefined, 1])
  })

  test('is not needed for a blob of one piece: its digest is the hash', () => {
    const trust = { trusted: new Set<string>(), connected: true }
    const small = fixtureBlob(77)
    const kept = new ClaimBook(small.digest, small.layout, trust)
    assert.deepEqual(
      kept.expected(0)?.map((hash) => Buffer.from(hash)),
      [Buffer.from(small.hash(0))]
    )
    const other = fixtureBlob(77, { algorithm: 'sha512' })
    assert.deepEqual(new ClaimBook(other.digest, layoutOf(77), trust).expected(0), [], 'the store proves it')
  })
})
