import type { Digest } from '@layerswarm/core/digest.ts'
import { describeError } from '@layerswarm/core/errors.ts'
import type { Logger } from 'pino'
import type { IndexDb, Proof } from './index-db.ts'

export interface ProofsDeps {
  readonly db: Pick<IndexDb, 'proofs' | 'setProof' | 'forgetProof'>
  readonly log: Pick<Logger, 'debug'>
}

/** What was found out about files of another program, by this process and those before. What is lost is hashed again. */
export class Proofs {
  readonly #deps: ProofsDeps
  /** Those of earlier processes that were not asked for yet. */
  #earlier: Promise<Map<Digest, Proof>> | undefined

  constructor(deps: ProofsDeps) {
    this.#deps = deps
  }

  /** What an earlier process found out; given once. */
  async recall(digest: Digest): Promise<Proof | undefined> {
    const earlier = await this.#load()
    const proof = earlier.get(digest)
    earlier.delete(digest)
    return proof
  }

  async keep(digest: Digest, proof: Proof): Promise<void> {
    await this.#facts(() => this.#deps.db.setProof(digest, proof))
  }

  async forget(digest: Digest): Promise<void> {
    await this.#facts(() => this.#deps.db.forgetProof(digest))
  }

  /** Forgets what earlier processes found out about others: they went while nobody looked. */
  async forgetAllBut(there: (digest: Digest) => boolean): Promise<void> {
    const earlier = await this.#load()
    for (const digest of earlier.keys()) {
      earlier.delete(digest)
      if (!there(digest)) await this.forget(digest)
    }
  }

  #load(): Promise<Map<Digest, Proof>> {
    this.#earlier ??= this.#deps.db.proofs().catch(() => new Map())
    return this.#earlier
  }

  async #facts(work: () => Promise<void>): Promise<void> {
    await work().catch((error: unknown) => this.#deps.log.debug({ error: describeError(error) }, 'the index of the store cannot be used'))
  }
}
