import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Host } from './network.ts'
import type { RunningProcess } from './process.ts'

/** Starts nginx on a host: one process, with the directives of its one server; with a certificate it speaks TLS. */
export async function startNginx(
  host: Host,
  port: number,
  server: readonly string[],
  tls?: { readonly certificate: string; readonly key: string }
): Promise<RunningProcess> {
  const dir = join(host.dir, `nginx-${port}`)
  mkdirSync(dir)
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${dir}/${kind};`)
  const listen =
    tls === undefined
      ? [`listen ${port};`]
      : [`listen ${port} ssl;`, `ssl_certificate ${tls.certificate};`, `ssl_certificate_key ${tls.key};`]
  const config = join(dir, 'nginx.conf')
  writeFileSync(
    config,
    `user root;
    pid ${dir}/pid;
    error_log stderr;
    events {}
    http {
      access_log off;
      sendfile on;
      ${temporary.join(' ')}
      server { ${[...listen, ...server].join(' ')} }
    }`
  )
  const args = ['-p', dir, '-c', config, '-e', 'stderr', '-g', 'daemon off; master_process off;']
  const started = host.start(`nginx-${port}`, 'nginx', args)
  return await started.ready(async () => (await host.client.tcp('127.0.0.1', port, new Uint8Array(), 50)).closedBy === 'us')
}
