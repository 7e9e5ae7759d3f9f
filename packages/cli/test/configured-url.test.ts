import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, it } from 'node:test'
import type { AgentStatus } from '@layerswarm/core/api/status-api.ts'
import { runCommand } from './run-command.ts'

const STATUS: AgentStatus = {
  id: 'id',
  name: 'configured',
  version: '0.1.0',
  seconds: 1,
  tracker: { connected: false, configured: 0 },
  peers: 0,
  store: { complete: { blobs: 0, bytes: 0 }, partial: { blobs: 0, bytes: 0 }, bound: 1 },
  transfers: []
}

const dir = mkdtempSync(join(tmpdir(), 'layerswarm-url-'))
const server = createServer((request, response) => {
  response.end(JSON.stringify(request.url === '/v1/seed' ? { seeds: [] } : STATUS))
})
let port = 0

before(async () => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  port = (server.address() as AddressInfo).port
})
after(() => {
  server.close()
  rmSync(dir, { recursive: true })
})

function file(text: string): string {
  const path = join(dir, 'layerswarm.toml')
  writeFileSync(path, text)
  return path
}

it('asks the agent where its file or the environment says that it listens', async () => {
  for (const address of [`127.0.0.1:${port}`, `0.0.0.0:${port}`]) {
    const { stdout, stderr } = await runCommand(['status', '--config', file(`admin-listen = "${address}"\n`)])
    assert.match(stdout, /^configured, /, stderr)
  }
  // The file of an agent with a tracker in it.
  const standalone = file(`admin-listen = "127.0.0.1:${port}"\nhttp-listen = "127.0.0.1:8061"\n`)
  assert.match((await runCommand(['status', '--config', standalone])).stdout, /^configured, /)
  assert.match((await runCommand(['status'], { env: { LAYERSWARM_ADMIN_LISTEN: `127.0.0.1:${port}` } })).stdout, /^configured, /)
})

it('is told otherwise by --agent, and what is wrong with a file that is named', async () => {
  const elsewhere = file('admin-listen = "127.0.0.1:1"\n')
  const given = await runCommand(['status', '--config', elsewhere, '--agent', `http://127.0.0.1:${port}`])
  assert.match(given.stdout, /^configured, /, given.stderr)
  assert.match((await runCommand(['status', '--config', elsewhere])).stderr, /cannot be reached: http:\/\/127\.0\.0\.1:1\n/)
  const broken = await runCommand(['status', '--config', file('admin-listen = 5\n')])
  assert.deepEqual([broken.code, /admin-listen in .*layerswarm\.toml/.test(broken.stderr)], [2, true])
})

it('asks the tracker of this host likewise', async () => {
  for (const variable of ['LAYERSWARM_CONFIG', 'LAYERSWARM_HTTP_LISTEN']) {
    const value = variable === 'LAYERSWARM_CONFIG' ? file(`http-listen = "127.0.0.1:${port}"\n`) : `127.0.0.1:${port}`
    const { code, stderr } = await runCommand(['seed', 'status'], { env: { [variable]: value } })
    assert.equal(code, 0, stderr)
  }
})
