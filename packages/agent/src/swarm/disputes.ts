import type { Digest } from '@layerswarm/core/digest.ts'
import { describeError } from '@layerswarm/core/errors.ts'
import type { Logger } from 'pino'
import type { PeerDirectory } from '../ports.ts'
import type { ClaimTrust } from './claim-book.ts'
import type { Transfer } from './transfer.ts'

/** Blobs remembered for having been vouched for falsely; more would be an attack on its own. */
const MAX_DISPUTED = 1024

export interface DisputesDeps {
  /** This host's id. */
  readonly self: string
  /** Whose word counts, and who is told. */
  readonly directory: Pick<PeerDirectory, 'trusted' | 'connected' | 'tell'>
  /** Whether what a registry sends is proven to be its own: otherwise false bytes prove nothing against who fetched them. */
  readonly overTls: (registry: string) => boolean
  readonly log: Logger
  readonly onPieceFailure: (reason: 'digest') => void
}

/** Blobs whose pieces fitted their claims while the whole did not fit its digest: somebody vouched for false bytes. */
export class Disputes {
  readonly #deps: DisputesDeps
  readonly #disputed = new Set<Digest>()

  constructor(deps: DisputesDeps) {
    this.#deps = deps
  }

  /** Whose word counts for a blob. */
  trustFor(blob: Digest): ClaimTrust {
    const { directory } = this.#deps
    if (!this.#disputed.has(blob)) return directory
    return {
      disputed: true,
      get trusted() {
        return directory.trusted
      },
      get connected() {
        return directory.connected
      }
    }
  }

  /**
   * The whole does not fit: what this host did not fetch itself is forgotten, and from now on only what two hosts say
   * counts for this blob here. The tracker has each run fetched by another host than before.
   */
  async open(transfer: Transfer): Promise<void> {
    const { digest, book, partial, fromRegistry } = transfer
    const { self, directory, log, onPieceFailure } = this.#deps
    const authors = [...book.authors].filter((author) => author !== self)
    log.error({ digest, authors }, 'the blob does not match its digest; the claims of these hosts are in doubt')
    onPieceFailure('digest')
    if (authors.length > 0) directory.tell({ t: 'dispute', blob: digest })
    const pieces = [...partial.have()].filter((piece) => !fromRegistry.has(piece))
    await this.refute(transfer, pieces.length === 0 ? undefined : pieces)
  }

  /** Forgets false pieces, all unless named. The same word must not bring them here again. */
  async refute({ digest, partial }: Transfer, pieces?: readonly number[]): Promise<void> {
    if (this.#disputed.size >= MAX_DISPUTED) this.#disputed.clear()
    this.#disputed.add(digest)
    try {
      await partial.discard(pieces)
    } catch (error) {
      this.#deps.log.debug({ digest, error: describeError(error) }, 'the pieces in doubt could not be discarded')
    }
  }

  /** The whole fits: whoever signed other hashes than those of its pieces is reported, with what it signed. */
  settle({ digest, ref, book }: Transfer, map: Uint8Array): void {
    const { self, directory, overTls, log } = this.#deps
    this.#disputed.delete(digest)
    const claims = book.contradicting(map).filter(({ author, lease }) => author !== self && lease !== undefined)
    if (claims.length === 0) return
    log.warn({ digest, authors: claims.map(({ author }) => author) }, 'these hosts vouched for false pieces of the blob')
    if (overTls(ref.registry)) directory.tell({ t: 'evidence', blob: digest, claims })
  }
}
