import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Host } from '../harness/network.ts'
import type { RunningProcess } from '../harness/process.ts'

/** Starts nginx on a host: one worker, plain HTTP on `port`, with the directives of its one server. */
export async function startNginx(host: Host, port: number, server: readonly string[]): Promise<RunningProcess> {
  const dir = join(host.dir, `nginx-${port}`)
  mkdirSync(dir)
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${dir}/${kind};`)
  const config = join(dir, 'nginx.conf')
  writeFileSync(
    config,
    `user root;
    pid ${dir}/pid;
    events {}
    http {
      access_log off;
      sendfile on;
      ${temporary.join(' ')}
      server { listen ${port}; location = /ready { return 200; } ${server.join(' ')} }
    }`
  )
  const args = ['-p', dir, '-c', config, '-e', 'stderr', '-g', 'daemon off; master_process off;']
  const started = host.start(`nginx-${port}`, 'nginx', args)
  return await started.ready(async () => (await host.client.http(`http://127.0.0.1:${port}/ready`)).status === 200)
}
