import type { Clock } from '@layerswarm/core/clock.ts'
import { within } from '@layerswarm/core/deadline.ts'
import { isLayerswarmError, LayerswarmError } from '@layerswarm/core/errors.ts'
import type { ContentRef, RegistryClient } from '../ports.ts'

/** How long a registry's yes counts, ms. */
const GRANTED_MS = 300_000
/** How long a failure counts, ms: short, since the network may be back. */
const FAILED_MS = 10_000
/** Longest wait for the registry's word before a plan is asked without it, ms. */
const PATIENCE_MS = 2500
/** Scopes remembered; a host pulls from far fewer. */
const MAX_SCOPES = 10_000

/** Whether the registry grants this host what it asks for: only such a host may hold leases for the others. */
export class OriginAccess {
  readonly #deps: { readonly registry: Pick<RegistryClient, 'resolve'>; readonly clock: Clock }
  readonly #known = new Map<string, { granted: boolean; until: number }>()
  readonly #asking = new Map<string, Promise<boolean>>()

  constructor(deps: { readonly registry: Pick<RegistryClient, 'resolve'>; readonly clock: Clock }) {
    this.#deps = deps
  }

  async granted(ref: ContentRef): Promise<boolean> {
    const scope = `${ref.registry}/${ref.repository}`
    const known = this.#known.get(scope)
    if (known !== undefined && known.until > this.#deps.clock.now()) return known.granted
    const asking = this.#asking.get(scope) ?? this.#ask(ref, scope).finally(() => this.#asking.delete(scope))
    this.#asking.set(scope, asking)
    return await asking
  }

  async #ask(ref: ContentRef, scope: string): Promise<boolean> {
    const { registry, clock } = this.#deps
    let granted = true
    try {
      const late = () => new LayerswarmError('REGISTRY_UNREACHABLE', { detail: 'no answer in time' })
      await within({ clock, ms: PATIENCE_MS, late }, (signal) => registry.resolve(ref, { signal }))
    } catch (error) {
      // Content that is not there says nothing against the repository: other hosts may still be served by this one.
      granted = isLayerswarmError(error, 'NOT_FOUND')
    }
    if (this.#known.size >= MAX_SCOPES) this.#known.clear()
    this.#known.set(scope, { granted, until: clock.now() + (granted ? GRANTED_MS : FAILED_MS) })
    return granted
  }
}
