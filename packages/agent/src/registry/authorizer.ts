import { hash } from 'node:crypto'
import type { Clock } from '@layerswarm/core/clock.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { basicAuthorization } from './basic.ts'
import type { Challenge } from './challenge.ts'
import type { Credential, CredentialSource } from './credentials.ts'
import { type Endpoint, repositoryPath } from './endpoint.ts'
import { MAX_REMEMBERED, TOKEN_USED_SHARE } from './limits.ts'
import { Remembered } from './remembered.ts'
import { type Token, type TokenWish, tokenWish } from './token-server.ts'
import { orAborted } from './transport.ts'

export interface AuthorizerDeps {
  readonly clock: Clock
  readonly credentials: CredentialSource
  /** Asks the token server. It is shared by many callers, so none of their signals stops it. */
  readonly fetchToken: (endpoint: Endpoint, wish: TokenWish, credential: Credential | undefined) => Promise<Token>
}

type Demand = { readonly scheme: 'basic' } | { readonly scheme: 'bearer'; readonly wish: TokenWish }

/** A repository that a request is about. */
export interface Subject {
  readonly endpoint: Endpoint
  readonly repository: string
  /** What is to be done there; `pull` by default. */
  readonly actions?: 'pull' | 'pull,push' | 'pull,push,delete'
  /** Another repository of the same registry that is read on the way. */
  readonly alsoReads?: string
}

/**
 * Knows what each repository's registry asks for and answers it: Basic where there is a password, else tokens, each
 * fetched once however many wait for it and replaced before it runs out.
 */
export class Authorizer {
  readonly #deps: AuthorizerDeps
  readonly #demands = new Remembered<string, Demand>(MAX_REMEMBERED)
  readonly #tokens = new Remembered<string, { readonly value: string; readonly renewAt: number }>(MAX_REMEMBERED)
  readonly #fetching = new Map<string, Promise<string>>()

  constructor(deps: AuthorizerDeps) {
    this.#deps = deps
  }

  /** The Authorization to send at once, since the registry asked for it before. Errors as {@link answer}. */
  async known(subject: Subject, signal?: AbortSignal): Promise<string | undefined> {
    const demand = this.#demands.get(keyOf(subject))
    return demand === undefined ? undefined : this.#meet(subject, demand, undefined, signal)
  }

  /**
   * The Authorization that answers a 401.
   * @param challenges what the registry offers; when there is nothing, what it asked for last time counts
   * @param refused the Authorization that was sent: it is not used again
   * @throws {LayerswarmError} REGISTRY_DENIED when there is none, or the token server's failure
   */
  async answer(subject: Subject, challenges: readonly Challenge[], refused: string | undefined, signal?: AbortSignal): Promise<string> {
    const demand = demandOf(subject, challenges) ?? this.#demands.get(keyOf(subject))
    if (demand === undefined) throw denied(subject, 'asks for no authentication that this client knows')
    this.#demands.set(keyOf(subject), demand)
    const authorization = await this.#meet(subject, demand, refused, signal)
    if (authorization === undefined) throw denied(subject, 'asks for a password')
    if (authorization === refused) throw denied(subject, 'does not accept the credentials')
    return authorization
  }

  async #meet(subject: Subject, demand: Demand, refused: string | undefined, signal: AbortSignal | undefined): Promise<string | undefined> {
    const { credentials } = this.#deps
    const credential = await credentials.find(subject.endpoint.registry, subject.repository, signal === undefined ? {} : { signal })
    if (demand.scheme === 'basic') {
      return credential?.kind === 'password' ? basicAuthorization(credential.username, credential.password) : undefined
    }
    if (credential?.kind === 'access') return `Bearer ${credential.token}`
    const key = tokenKey(demand.wish, credential)
    const token = this.#tokens.get(key)
    if (token !== undefined && token.renewAt > this.#deps.clock.now() && `Bearer ${token.value}` !== refused) return `Bearer ${token.value}`
    return `Bearer ${await orAborted(this.#fetch(subject, demand.wish, credential, key), signal)}`
  }

  #fetch({ endpoint }: Subject, wish: TokenWish, credential: Credential | undefined, key: string): Promise<string> {
    const { clock, fetchToken } = this.#deps
    const running = this.#fetching.get(key)
    if (running !== undefined) return running
    const fetching = fetchToken(endpoint, wish, credential)
      .then(({ value, seconds }) => {
        this.#tokens.set(key, { value, renewAt: clock.now() + seconds * 1000 * TOKEN_USED_SHARE })
        return value
      })
      .finally(() => this.#fetching.delete(key))
    // Every waiter may have gone by the time it fails.
    fetching.catch(() => undefined)
    this.#fetching.set(key, fetching)
    return fetching
  }
}

function keyOf({ endpoint, repository, actions = 'pull', alsoReads = '' }: Subject): string {
  return `${endpoint.registry} ${repository} ${actions} ${alsoReads}`
}

/** Tokens for different credentials are different tokens. The credential goes in hashed: keys end up in heap dumps. */
function tokenKey({ realm, service, scopes }: TokenWish, credential: Credential | undefined): string {
  return JSON.stringify([realm.href, service, scopes, credential === undefined ? '' : hash('sha256', JSON.stringify(credential))])
}

function demandOf(subject: Subject, challenges: readonly Challenge[]): Demand | undefined {
  const bearer = challenges.find(({ scheme, parameters }) => scheme === 'bearer' && parameters.realm !== undefined)
  if (bearer !== undefined) {
    return { scheme: 'bearer', wish: tokenWish(subject.endpoint, scopesOf(subject), bearer) }
  }
  return challenges.some(({ scheme }) => scheme === 'basic') ? { scheme: 'basic' } : undefined
}

function scopesOf({ endpoint, repository, actions = 'pull', alsoReads }: Subject): string[] {
  const scope = (name: string, what: string) => `repository:${repositoryPath(endpoint.registry, name)}:${what}`
  return [scope(repository, actions), ...(alsoReads === undefined ? [] : [scope(alsoReads, 'pull')])]
}

function denied({ endpoint }: Subject, why: string): LayerswarmError {
  return new LayerswarmError('REGISTRY_DENIED', { detail: `${endpoint.registry} ${why}` })
}
