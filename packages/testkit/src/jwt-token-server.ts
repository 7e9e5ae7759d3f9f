import { randomUUID, sign, X509Certificate } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Listener } from './fake-registry/listener.ts'
import type { IssuedCertificate } from './test-authority.ts'

export interface JwtTokenServerOptions {
  readonly username: string
  readonly password: string
  /** Of an authority that the registry trusts, with an EC key on P-256. */
  readonly signer: IssuedCertificate
}

const SERVICE = 'test registry'
const ISSUER = 'test token server'
const LIFETIME_S = 300

/** A token server whose tokens the real registry accepts (distribution's token specification); who is unknown gets none. */
export class JwtTokenServer implements AsyncDisposable {
  readonly #options: JwtTokenServerOptions
  readonly #listener: Listener
  /** Tokens given out. */
  issued = 0

  private constructor(options: JwtTokenServerOptions) {
    this.#options = options
    this.#listener = new Listener((request, response) => this.#answer(request, response), '127.0.0.1', 0)
  }

  static async start(options: JwtTokenServerOptions): Promise<JwtTokenServer> {
    const server = new JwtTokenServer(options)
    await server.#listener.start()
    return server
  }

  /** `auth` of docker-registry's configuration. @param rootcertbundle path of the authority's certificate */
  registryAuth(rootcertbundle: string): Readonly<Record<string, object>> {
    return { token: { realm: `${this.#listener.url}/token`, service: SERVICE, issuer: ISSUER, rootcertbundle } }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#listener.stop()
  }

  async #answer({ url = '', headers }: IncomingMessage, response: ServerResponse): Promise<void> {
    const { username, password } = this.#options
    const known = headers.authorization === `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
    response.writeHead(known ? 200 : 401, { 'content-type': 'application/json' })
    if (!known) return void response.end('{"details":"unauthorized"}')
    this.issued++
    const scopes = new URL(url, this.#listener.url).searchParams.getAll('scope')
    response.end(JSON.stringify({ token: this.tokenFor(scopes), expires_in: LIFETIME_S }))
  }

  /** @param scopes as in `repository:team/app:pull,push` */
  tokenFor(scopes: readonly string[]): string {
    const { signer, username } = this.#options
    const now = Math.floor(Date.now() / 1000)
    const access = scopes.map((scope) => {
      const [type, name, actions = ''] = scope.split(':')
      return { type, name, actions: actions.split(',') }
    })
    const head = { typ: 'JWT', alg: 'ES256', x5c: [new X509Certificate(signer.cert).raw.toString('base64')] }
    const times = { nbf: now - 60, iat: now - 60, exp: now + LIFETIME_S }
    const claims = { iss: ISSUER, sub: username, aud: SERVICE, ...times, jti: randomUUID(), access }
    const signed = [head, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
    const signature = sign('sha256', Buffer.from(signed), { key: signer.key, dsaEncoding: 'ieee-p1363' })
    return `${signed}.${signature.toString('base64url')}`
  }
}
