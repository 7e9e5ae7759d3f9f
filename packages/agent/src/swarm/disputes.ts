import type { Digest } from '@layerswarm/core/digest.ts'
import { describeError } from '@layerswarm/core/errors.ts'
import type { Logger } from 'pino'
import type { ClaimTrust } from './claim-book.ts'
import type { Transfer } from './transfer.ts'

/** Blobs remembered for having been vouched for falsely; more would be an attack on its own. */
const MAX_DISPUTED = 1024
/** For a disputed blob: nobody's word counts, only a map that several hosts have proven. */
const NO_TRUST: ClaimTrust = { trusted: new Set<string>(), connected: true, disputed: true }

export interface DisputesDeps {
  /** This host's id. */
  readonly self: string
  /** Whose word counts while a blob is in no dispute. */
  readonly trust: ClaimTrust
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
    return this.#disputed.has(blob) ? NO_TRUST : this.#deps.trust
  }

  /** Forgets what this host did not fetch itself; nobody's word on this blob counts here any more. */
  async open(transfer: Transfer): Promise<void> {
    const { digest, partial, book, fromRegistry } = transfer
    const authors = [...book.authors].filter((author) => author !== this.#deps.self)
    this.#deps.log.error({ digest, authors }, 'the blob does not match its digest; the claims of these hosts are in doubt')
    this.#deps.onPieceFailure('digest')
    if (this.#disputed.size >= MAX_DISPUTED) this.#disputed.clear()
    this.#disputed.add(digest)
    const pieces = [...partial.have()].filter((piece) => !fromRegistry.has(piece))
    try {
      await partial.discard(pieces.length === 0 ? undefined : pieces)
    } catch (error) {
      this.#deps.log.debug({ digest, error: describeError(error) }, 'the pieces in doubt could not be discarded')
    }
  }
}
