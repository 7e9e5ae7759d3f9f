import type { AccessRule } from './access.ts'
import type { FaultRule } from './faults.ts'

/** A public registry, as far as clients meet its peculiarities. */
export interface Provider {
  readonly access?: AccessRule
  /** Standing behaviour, not failures. */
  readonly faults: readonly FaultRule[]
  /** What the operator's tools have stored for it: an entry under `auths` of docker's config.json. */
  readonly stored?: Readonly<Record<string, string>>
}

const auth = (username: string, password: string) => ({ auth: Buffer.from(`${username}:${password}`).toString('base64') })
const sentFromElsewhere = (kind: 'blob' | 'manifest', status: 302 | 307): FaultRule => ({ kind, fault: { redirect: { status } } })

const ECR_TOKEN = `eyJwYXlsb2FkIjoi${'c2VjcmV0'.repeat(200)}`
const ACR_USER = '00000000-0000-0000-0000-000000000000'
const SERVICE_ACCOUNT = JSON.stringify({ type: 'service_account', private_key: '-----BEGIN:\n:END-----\n' })

/** Google's registries tell only at the API's root how to get in. */
function google(username: string, password: string): Provider {
  const access = {
    type: 'bearer',
    username,
    password,
    realmPath: '/v2/token',
    rootOnly: true,
    rootScope: 'repository:placeholder:pull'
  } as const
  return { access, stored: auth(username, password), faults: [sentFromElsewhere('blob', 302)] }
}

/** Azure's takes its refresh token as a password, too, and its blob store rejects an Authorization that is not for it. */
function azure(stored: Provider['stored']): Provider {
  const access = {
    type: 'bearer',
    username: ACR_USER,
    password: 'refresh',
    identityToken: 'refresh',
    realmPath: '/oauth2/token',
    field: 'access_token'
  } as const
  return { access, ...(stored && { stored }), faults: [sentFromElsewhere('blob', 307)] }
}

/** The particulars that clients have to cope with, by the registry that has them. */
export const PROVIDERS = {
  'Amazon ECR': {
    access: { type: 'basic', username: 'AWS', password: ECR_TOKEN },
    stored: auth('AWS', ECR_TOKEN),
    faults: [sentFromElsewhere('blob', 307)]
  },
  'Google, access token': google('oauth2accesstoken', 'ya29.secret'),
  'Google, service account': google('_json_key', SERVICE_ACCOUNT),
  'Azure, identity token': azure({ ...auth(ACR_USER, 'unused'), identitytoken: 'refresh' }),
  'Azure, refresh token as password': azure(auth(ACR_USER, 'refresh')),
  GHCR: {
    access: { type: 'bearer', username: 'sam', password: 'ghp_secret', realmPath: '/token', rootScope: 'repository:user/image:pull' },
    stored: auth('sam', 'ghp_secret'),
    faults: [sentFromElsewhere('blob', 307)]
  },
  Quay: {
    access: { type: 'bearer', username: 'team+robot', password: 'quay-secret', realmPath: '/v2/auth' },
    stored: auth('team+robot', 'quay-secret'),
    faults: [sentFromElsewhere('blob', 302)]
  },
  'Docker Hub': {
    access: { type: 'bearer', username: 'sam', password: 'dckr_secret', expiresIn: 300 },
    stored: auth('sam', 'dckr_secret'),
    faults: [
      { kind: 'manifest', fault: { headers: { 'ratelimit-limit': '100;w=21600', 'ratelimit-remaining': '99;w=21600' } } },
      sentFromElsewhere('blob', 307)
    ]
  },
  'registry.k8s.io': { faults: [sentFromElsewhere('manifest', 307), sentFromElsewhere('blob', 307)] }
} as const satisfies Record<string, Provider>
