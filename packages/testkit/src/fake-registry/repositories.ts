import type { Digest } from '@layerswarm/core/digest.ts'

export interface StoredManifest {
  readonly digest: Digest
  readonly mediaType: string
  readonly bytes: Uint8Array
  /** Digest of the manifest that this one says something about. */
  readonly subject: Digest | undefined
  readonly artifactType: string | undefined
}

/** What one repository names: a digest that is stored but not named here is unknown here. */
export interface Repository {
  readonly blobs: Set<Digest>
  readonly manifests: Map<Digest, StoredManifest>
  readonly tags: Map<string, Digest>
}

export class Repositories {
  readonly #byName = new Map<string, Repository>()

  get(name: string): Repository | undefined {
    return this.#byName.get(name)
  }

  ensure(name: string): Repository {
    const known = this.#byName.get(name)
    if (known !== undefined) return known
    const repository: Repository = { blobs: new Set(), manifests: new Map(), tags: new Map() }
    this.#byName.set(name, repository)
    return repository
  }

  manifest(name: string, reference: string): StoredManifest | undefined {
    const repository = this.#byName.get(name)
    const digest = reference.includes(':') ? (reference as Digest) : repository?.tags.get(reference)
    return digest === undefined ? undefined : repository?.manifests.get(digest)
  }
}
