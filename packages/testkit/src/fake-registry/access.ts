import { randomUUID } from 'node:crypto'

/** How a registry asks who is there. Without `username`, anybody gets a token. */
export type AccessRule =
  | { readonly type: 'basic'; readonly username: string; readonly password: string }
  | {
      readonly type: 'bearer'
      readonly username?: string
      readonly password?: string
      /** Accepted as `refresh_token` of an OAuth2 POST. */
      readonly identityToken?: string
      /** Seconds that a token is said to live. It really lives until {@link Access.revoke}. */
      readonly expiresIn?: number
      /** Name of the field that carries the token. */
      readonly field?: 'token' | 'access_token'
      /** What the token server says instead of a token. */
      readonly answer?: string
      /** The challenge leaves the scope out. */
      readonly noScope?: boolean
      /** The token server is the registry itself, at this path; else another origin. */
      readonly realmPath?: string
      /** Scope in the challenge at the API's root. */
      readonly rootScope?: string
      /** Only the API's root tells how to get in; content is refused without a challenge. */
      readonly rootOnly?: boolean
    }

export interface TokenRequest {
  readonly method: string
  readonly query: URLSearchParams
  readonly form: URLSearchParams
  readonly authorization: string | undefined
}

function basicHeader(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
}

/** Challenges, and the tokens that answer them. */
export class Access {
  readonly rule: AccessRule
  readonly #realm: () => string
  readonly #tokens = new Map<string, ReadonlySet<string>>()

  constructor(rule: AccessRule, realm: () => string) {
    this.rule = rule
    this.#realm = realm
  }

  /** All tokens given out so far are refused from now on. */
  revoke(): void {
    this.#tokens.clear()
  }

  /** @returns the challenge to send with a 401, empty for none, or undefined when the request may pass. */
  check(authorization: string | undefined, scope: string | undefined): string | undefined {
    const { rule } = this
    if (rule.type === 'basic') {
      return authorization === basicHeader(rule.username, rule.password) ? undefined : 'Basic realm="fake, registry"'
    }
    const told = rule.noScope === true ? undefined : (scope ?? rule.rootScope)
    const wanted = told === undefined ? '' : `,scope="${told}"`
    const challenge = `Bearer realm="${this.#realm()}",service="fake-registry"${wanted}`
    if (authorization === undefined) return scope !== undefined && rule.rootOnly === true ? '' : challenge
    const granted = authorization.startsWith('Bearer ') ? this.#tokens.get(authorization.slice('Bearer '.length)) : undefined
    if (granted === undefined) return `${challenge},error="invalid_token"`
    return scope === undefined || covers(granted, scope) ? undefined : `${challenge},error="insufficient_scope"`
  }

  /** What the token server answers. */
  issue(request: TokenRequest): { readonly status: number; readonly body: string } {
    const { rule } = this
    if (rule.type === 'basic') return { status: 404, body: '{}' }
    const refresh = request.form.get('refresh_token')
    const known =
      request.method === 'POST'
        ? rule.identityToken !== undefined && refresh === rule.identityToken
        : rule.username === undefined || request.authorization === basicHeader(rule.username, rule.password ?? '')
    if (!known) return { status: 401, body: '{"details":"incorrect username or password"}' }
    if (rule.answer !== undefined) return { status: 200, body: rule.answer }
    const token = randomUUID()
    const asked = request.method === 'POST' ? (request.form.get('scope') ?? '').split(' ') : request.query.getAll('scope')
    this.#tokens.set(token, new Set(asked))
    const lifetime = rule.expiresIn === undefined ? {} : { expires_in: rule.expiresIn }
    return { status: 200, body: JSON.stringify({ [rule.field ?? 'token']: token, ...lifetime }) }
  }
}

/** Whether `granted` has the repository and every action of `scope`. */
function covers(granted: ReadonlySet<string>, scope: string): boolean {
  const cut = scope.lastIndexOf(':')
  return [...granted].some((grant) => {
    const at = grant.lastIndexOf(':')
    const actions = grant.slice(at + 1).split(',')
    return (
      grant.slice(0, at) === scope.slice(0, cut) &&
      scope
        .slice(cut + 1)
        .split(',')
        .every((action) => actions.includes(action))
    )
  })
}
