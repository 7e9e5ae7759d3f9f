import { join } from 'node:path'

/** What tells where this user's credentials lie. */
export interface AuthPathFacts {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly home: string
  /** Numeric user id; undefined where there is none. */
  readonly uid: number | undefined
}

/**
 * The files that container tools of this user keep credentials in, the first to ask first: the one that
 * REGISTRY_AUTH_FILE names, podman's, docker's.
 */
export function authPaths({ env, home, uid }: AuthPathFacts): string[] {
  const { REGISTRY_AUTH_FILE: named, XDG_RUNTIME_DIR: runtime, DOCKER_CONFIG: docker } = env
  // Where podman looks when the variable is not set, as for a service.
  const podman = runtime ? join(runtime, 'containers', 'auth.json') : uid === undefined ? '' : `/run/containers/${uid}/auth.json`
  const paths = [named ?? '', podman, docker ? join(docker, 'config.json') : '', join(home, '.docker', 'config.json')]
  return [...new Set(paths.filter((path) => path !== ''))]
}
