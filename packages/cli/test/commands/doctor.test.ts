import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, it } from 'node:test'
import { runCommand } from '../run-command.ts'

let dir: string
let places: readonly string[]
/** Agent, mirror and registry in one. */
const server = createServer((_request, response) => {
  response.setHeader('Docker-Distribution-Api-Version', 'registry/2.0')
  response.end(JSON.stringify({ ready: true, tracker: { connected: false } }))
})
let host: string

before(async () => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  dir = mkdtempSync(join(tmpdir(), 'layerswarm-doctor-'))
  writeFileSync(join(dir, 'config.toml'), 'version = 2\n')
  const files = [
    '--containerd-config',
    join(dir, 'config.toml'),
    '--docker-config',
    join(dir, 'd.json'),
    '--registries-conf-dir',
    join(dir, 'c.d')
  ]
  places = [...files, '--data-dir', join(dir, 'data'), '--config', '/dev/null']
})
after(async () => {
  rmSync(dir, { recursive: true })
  server.close()
  server.closeAllConnections()
  await once(server, 'close')
})

function doctor(...args: readonly string[]) {
  return runCommand(['doctor', ...places, '--agent', `http://${host}`, '--mirror-listen', host, '--insecure-registry', host, ...args])
}

it('ends with 1 and tells what to do while something is wrong, and with 0 when it is mended', async () => {
  const wrong = await doctor()
  assert.equal(wrong.code, 1)
  assert.match(
    wrong.stdout,
    /^PROBLEM {2}runtimes {5}no container runtime .*\n {9}fix: run: layerswarm mirror install --runtime containerd/m
  )
  const installed = await runCommand(['mirror', 'install', '--runtime', 'containerd', '--mirror-url', `http://${host}`, ...places])
  assert.equal(installed.code, 0, installed.stderr)
  const right = await doctor('--json')
  const findings: readonly { check: string; status: string }[] = JSON.parse(right.stdout)
  assert.deepEqual(
    findings.map(({ check, status }) => `${check} ${status}`),
    ['agent ok', 'mirror ok', 'containerd ok', 'cluster-key ok', 'tracker ok', 'peers unknown', 'clock ok', 'disk ok']
  )
  assert.equal(right.code, 0)
})

it('names what another host has to be told: key, tracker', async () => {
  const { code, stdout } = await doctor('--cluster-key', join(dir, 'gone.key'))
  assert.equal(code, 1)
  assert.match(stdout, /^PROBLEM {2}cluster-key .*gone\.key/m)
})
