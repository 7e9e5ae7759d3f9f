import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { command } from './command.ts'
import type { Host } from './network.ts'
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
  const config = join(host.dir, 'nginx.conf')
  writeFileSync(
    config,
    `daemon off;
user root;
worker_processes 1;
pid ${join(host.dir, 'nginx.pid')};
error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path ${join(host.dir, 'nginx-body')};
  proxy_temp_path ${join(host.dir, 'nginx-proxy')};
  fastcgi_temp_path ${join(host.dir, 'nginx-fastcgi')};
  uwsgi_temp_path ${join(host.dir, 'nginx-uwsgi')};
  scgi_temp_path ${join(host.dir, 'nginx-scgi')};
  server {
    listen 443 ssl;
    ssl_certificate ${certificate};
    ssl_certificate_key ${key};
    location / {
      proxy_pass http://127.0.0.1:${REGISTRY_PORT};
      proxy_buffering off;
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-Proto https;
    }
  }
}
`
  )
  const nginx = host.start('nginx', 'nginx', ['-c', config, '-e', 'stderr'])
  await nginx.ready(async () => (await host.client.tcp('127.0.0.1', 443, new Uint8Array(), 50)).closedBy === 'us')
  return certificate
}
