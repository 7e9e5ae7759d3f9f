import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { FetchedPiece, PieceSource } from '@layerswarm/agent/ports.ts'
import { type ErrorCode, isLayerswarmError } from '@layerswarm/core/errors.ts'
import { type PieceRun, piecesOfRun, RUN_PIECES, runCount } from '@layerswarm/core/piece-layout.ts'
import { PieceSet } from '@layerswarm/core/piece-set.ts'
import { type FixtureBlob, fixtureBlob, INTERESTING_SIZES } from '../blob-fixtures.ts'

/**
 * What the other side of a source does: `serves` the whole blob; `stalls` after the first piece of a run with the
 * connection open; `lacks` the blob; `breaks` after the first piece of a run and is gone for good.
 */
export type SourceBehaviour = 'serves' | 'stalls' | 'lacks' | 'breaks'

export interface SourceUnderTest extends AsyncDisposable {
  readonly source: PieceSource
}

/** How to make a source of one implementation. */
export interface PieceSourceHarness {
  readonly kind: PieceSource['kind']
  open(blob: FixtureBlob, behaviour: SourceBehaviour): Promise<SourceUnderTest>
  /** Codes that a fetch may end with where the other side lacks the blob. */
  readonly lacks: readonly ErrorCode[]
  /** Codes that a fetch may end with where the other side breaks. */
  readonly breaks: readonly ErrorCode[]
}

/** Copies what is only valid until the next piece. */
async function collect(pieces: AsyncIterable<FetchedPiece>): Promise<FetchedPiece[]> {
  const copies: FetchedPiece[] = []
  for await (const { piece, bytes } of pieces) copies.push({ piece, bytes: Uint8Array.from(bytes) })
  return copies
}

function assertRun(blob: FixtureBlob, run: PieceRun, got: readonly FetchedPiece[]): void {
  assert.deepEqual(
    got.map(({ piece }) => piece),
    Array.from({ length: run.count }, (_, at) => run.first + at)
  )
  // Buffer.equals, since a deep comparison of MiB takes seconds and prints them all.
  for (const { piece, bytes } of got) assert.ok(Buffer.from(blob.piece(piece)).equals(bytes), `piece ${piece} has the right bytes`)
}

const LARGE = fixtureBlob(3 * RUN_PIECES * 256 * 1024 + 12_345)
const FIRST_RUN = piecesOfRun(LARGE.layout, 0)

/** What every {@link PieceSource} must do, whatever is behind it. */
export function pieceSourceConformance(name: string, harness: PieceSourceHarness): void {
  suite(`${name} is a piece source`, () => {
    test('says what it is', async () => {
      await using under = await harness.open(LARGE, 'serves')
      assert.equal(under.source.kind, harness.kind)
      assert.notEqual(under.source.id, '')
    })

    test('its first availability lists every piece it has', async () => {
      await using under = await harness.open(LARGE, 'serves')
      const stop = new AbortController()
      const answers = under.source.available({ signal: stop.signal })[Symbol.asyncIterator]()
      const first = await answers.next()
      assert.ok(first.done !== true)
      const { pieces } = first.value
      const set = pieces instanceof PieceSet ? pieces : PieceSet.of(LARGE.layout.pieces, pieces)
      assert.ok(set.complete)
      assert.ok(first.value.load >= 0)
      await answers.return?.()
      stop.abort()
    })

    test('availability ends when it is told to', async () => {
      await using under = await harness.open(LARGE, 'serves')
      const stop = new AbortController()
      const answers = under.source.available({ signal: stop.signal })[Symbol.asyncIterator]()
      await answers.next()
      const next = answers.next()
      const reason = new Error('enough')
      stop.abort(reason)
      await next.then(
        ({ done }) => assert.equal(done, true),
        (error) => assert.equal(error, reason)
      )
    })

    for (const size of INTERESTING_SIZES.filter((bytes) => bytes > 0)) {
      test(`every run of a blob of ${size} bytes is exact, in order, the last piece short`, async () => {
        const blob = fixtureBlob(size)
        await using under = await harness.open(blob, 'serves')
        for (let run = 0; run < runCount(blob.layout); run++) {
          const pieces = piecesOfRun(blob.layout, run)
          assertRun(blob, pieces, await collect(under.source.fetch(pieces)))
        }
      })
    }

    test('a run may begin and end anywhere', async () => {
      await using under = await harness.open(LARGE, 'serves')
      for (const run of [
        { first: 3, count: 1 },
        { first: 5, count: 7 },
        { first: LARGE.layout.pieces - 2, count: 2 }
      ]) {
        assertRun(LARGE, run, await collect(under.source.fetch(run, { faring: { received: 3, elapsed: 1 } })))
      }
    })

    test('two runs at a time do not mix', async () => {
      await using under = await harness.open(LARGE, 'serves')
      const runs = [piecesOfRun(LARGE.layout, 0), piecesOfRun(LARGE.layout, 1)]
      const got = await Promise.all(runs.map((run) => collect(under.source.fetch(run))))
      for (const [at, run] of runs.entries()) assertRun(LARGE, run, got[at] ?? [])
    })

    test('whoever leaves a run early can fetch again', async () => {
      await using under = await harness.open(LARGE, 'serves')
      for await (const { piece } of under.source.fetch(FIRST_RUN)) {
        assert.equal(piece, 0)
        break
      }
      assertRun(LARGE, FIRST_RUN, await collect(under.source.fetch(FIRST_RUN)))
    })

    test('an abort in the middle of a run throws its reason at once', async () => {
      await using under = await harness.open(LARGE, 'stalls')
      const stop = new AbortController()
      const pieces = under.source.fetch(FIRST_RUN, { signal: stop.signal })[Symbol.asyncIterator]()
      assert.equal((await pieces.next()).value?.piece, 0)
      const next = pieces.next()
      const reason = new Error('enough')
      stop.abort(reason)
      await assert.rejects(next, (error) => error === reason)
    })

    test('a signal that has fired before throws its reason and no piece', async () => {
      await using under = await harness.open(LARGE, 'serves')
      const reason = new Error('too late')
      await assert.rejects(collect(under.source.fetch(FIRST_RUN, { signal: AbortSignal.abort(reason) })), (error) => error === reason)
    })

    test('a blob that is not there has its own code', async () => {
      await using under = await harness.open(LARGE, 'lacks')
      await assert.rejects(collect(under.source.fetch(FIRST_RUN)), (error) => isLayerswarmError(error, ...harness.lacks))
    })

    test('a source that is lost in the middle of a run gives only right pieces, then throws', async () => {
      await using under = await harness.open(LARGE, 'breaks')
      const got: FetchedPiece[] = []
      const fetching = (async () => {
        for await (const { piece, bytes } of under.source.fetch(FIRST_RUN)) got.push({ piece, bytes: Uint8Array.from(bytes) })
      })()
      await assert.rejects(fetching, (error) => isLayerswarmError(error, ...harness.breaks))
      assertRun(LARGE, { first: 0, count: 1 }, got)
    })
  })
}
