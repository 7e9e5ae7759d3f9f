import type { Abortable } from '../ports.ts'

/** What an operator gave for a registry. */
export type Credential =
  | { readonly kind: 'password'; readonly username: string; readonly password: string }
  /** A refresh token, to be exchanged for access tokens. */
  | { readonly kind: 'identity'; readonly token: string }
  /** An access token, sent as it is. */
  | { readonly kind: 'access'; readonly token: string }

/**
 * Where credentials come from; asked before every request, so what is slow to find is its to remember. A credential is
 * only ever sent to the registry it is for and to that registry's token server.
 */
export interface CredentialSource {
  /** @returns undefined to go on without credentials */
  find(registry: string, repository: string, options?: Abortable): Promise<Credential | undefined>
}

/** For registries that everybody may read. */
export const anonymous: CredentialSource = { find: async () => undefined }
