import { join } from 'node:path'
import { command } from './command.ts'
import type { Host } from './network.ts'
import { startNginx } from './nginx.ts'
import { REGISTRY_PORT } from './registry.ts'

/** The host that docker.io names stand for; the network's hosts file has to lead it to the registry's host. */
export const DOCKER_HUB = 'registry-1.docker.io'

/**
 * Puts nginx with TLS before the registry of a host, so that it can stand for Docker Hub: what Docker takes from a
 * mirror are docker.io names only. Returns the certificate that clients have to trust.
 */
export async function startDockerHub(host: Host): Promise<string> {
  const key = join(host.dir, 'hub.key')
  const certificate = join(host.dir, 'hub.crt')
  const subject = ['-subj', `/CN=${DOCKER_HUB}`, '-addext', `subjectAltName=DNS:${DOCKER_HUB}`]
  const keyType = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  await command('openssl', ['req', '-x509', ...keyType, '-keyout', key, '-out', certificate, '-days', '2', ...subject])
  const location = `location / { proxy_pass http://127.0.0.1:${REGISTRY_PORT}; proxy_buffering off; proxy_set_header Host $host; proxy_set_header X-Forwarded-Proto https; }`
  await startNginx(host, 443, [location], { certificate, key })
  return certificate
}
