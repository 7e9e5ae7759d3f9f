import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { basicAuthorization } from './basic.ts'
import type { Challenge } from './challenge.ts'
import type { Credential } from './credentials.ts'
import type { Endpoint } from './endpoint.ts'
import { TOKEN_DEFAULT_SECONDS } from './limits.ts'
import type { HttpRequest } from './transport.ts'

/** What a Bearer challenge asks for. */
export interface TokenWish {
  readonly realm: URL
  readonly service: string | undefined
  /** Sorted. */
  readonly scopes: readonly string[]
}

export interface Token {
  readonly value: string
  readonly seconds: number
}

/**
 * Reads a Bearer challenge, with our own scopes added: some registries challenge with another repository's or none.
 * @throws {LayerswarmError} REGISTRY_DENIED for a token server that is no URL or not secure: a credential may go there
 */
export function tokenWish(endpoint: Endpoint, own: readonly string[], { parameters }: Challenge): TokenWish {
  const realm = URL.parse(parameters.realm ?? '')
  const secure = realm?.protocol === 'https:' || (realm?.protocol === 'http:' && endpoint.insecure)
  if (realm === null || !secure || realm.username !== '' || realm.password !== '') {
    throw new LayerswarmError('REGISTRY_DENIED', { detail: `${endpoint.registry} names a token server that is not secure` })
  }
  const asked = (parameters.scope ?? '').split(' ').filter((scope) => scope !== '')
  return { realm, service: parameters.service, scopes: [...new Set([...own, ...asked])].sort() }
}

/**
 * The request for a token (distribution's token specification): GET for anonymous and password, which every token
 * server takes, an OAuth2 POST for a refresh token.
 */
export function tokenRequest(wish: TokenWish, credential: Credential | undefined, userAgent: string): HttpRequest {
  if (credential?.kind === 'identity') {
    const form = new URLSearchParams({
      grant_type: 'refresh_token',
      client_id: userAgent,
      scope: wish.scopes.join(' '),
      refresh_token: credential.token
    })
    if (wish.service !== undefined) form.set('service', wish.service)
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    return { method: 'POST', url: wish.realm, headers, body: form.toString() }
  }
  const url = new URL(wish.realm)
  if (wish.service !== undefined) url.searchParams.set('service', wish.service)
  for (const scope of wish.scopes) url.searchParams.append('scope', scope)
  if (credential?.kind !== 'password') return { method: 'GET', url, headers: {} }
  url.searchParams.set('account', credential.username)
  return { method: 'GET', url, headers: { authorization: basicAuthorization(credential.username, credential.password) } }
}

/** @throws {LayerswarmError} REGISTRY_FAILED for anything but a token that can stand in a header */
export function readToken(registry: string, body: Uint8Array): Token {
  const useless = () => new LayerswarmError('REGISTRY_FAILED', { detail: `the token server of ${registry} sent no usable token` })
  let reply: { token?: unknown; access_token?: unknown; expires_in?: unknown } | null
  try {
    reply = JSON.parse(Buffer.from(body).toString())
  } catch {
    throw useless()
  }
  const value = reply?.token ?? reply?.access_token
  if (typeof value !== 'string' || !/^[\x21-\x7e]+$/.test(value)) throw useless()
  const { expires_in: seconds } = reply ?? {}
  return { value, seconds: typeof seconds === 'number' && seconds > 0 ? seconds : TOKEN_DEFAULT_SECONDS }
}
