import assert from 'node:assert/strict'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { installMirror, runtimeNamed } from '@layerswarm/agent/runtime/mirror-setup.ts'
import { createLogger } from '@layerswarm/core/log.ts'
import { newClusterKey, parseClusterKey } from '@layerswarm/core/p2p/cluster-key.ts'
import { newIdentity } from '@layerswarm/core/p2p/identity.ts'
import { createNode } from '@layerswarm/core/p2p/node.ts'
import { checkAgent, checkContainerd, checkMirror } from '../../src/doctor/agent-checks.ts'
import type { Finding } from '../../src/doctor/finding.ts'
import { checkClusterKey, checkPeers, checkTrackers } from '../../src/doctor/fleet-checks.ts'
import { checkClock, checkDisk } from '../../src/doctor/host-checks.ts'
import { checkRuntimes } from '../../src/doctor/runtime-checks.ts'

const ANYWHERE = { host: '0.0.0.0', port: 5052 }

let dir: string
before(() => {
  dir = mkdtempSync(join(tmpdir(), 'layerswarm-doctor-'))
})
after(() => rmSync(dir, { recursive: true }))

async function serve(listener: RequestListener): Promise<AsyncDisposable & { readonly host: string }> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    }
  }
}

/** A port on which nobody listens any more. */
async function closedPort(): Promise<number> {
  const server = createTcpServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

function assertProblem({ status, text, remedy }: Finding, problem: RegExp, fix: RegExp): void {
  assert.equal(status, 'problem', text)
  assert.match(text, problem)
  assert.match(remedy ?? '', fix)
}

describe('containerd', () => {
  const none = { blobs: 0, bytes: 0 }
  const some = { blobs: 2, bytes: 3000 }
  const status = {
    id: 'id',
    name: 'name',
    version: '1',
    seconds: 1,
    tracker: { connected: false, configured: 0 },
    peers: 0,
    store: { complete: none, partial: none, bound: 1 },
    transfers: []
  }

  async function found(containerd: object | undefined): Promise<Finding[]> {
    await using agent = await serve((_request, response) => response.end(JSON.stringify({ ...status, containerd })))
    return await checkContainerd(new URL(`http://${agent.host}`))
  }

  it('is shared, or left alone for a reason, or partly corrupt', async () => {
    assert.deepEqual(await found({ offered: some, unproven: none, corrupt: none }), [
      { check: 'containerd', status: 'ok', text: '3.00 kB that containerd holds is shared where it lies' }
    ])
    const [denied] = await found({ offered: none, unproven: none, corrupt: none, problem: 'permission denied' })
    assert.equal(denied?.status, 'unknown')
    assert.match(denied?.text ?? '', /permission denied/)
    const [corrupt] = await found({ offered: some, unproven: none, corrupt: some })
    assertProblem(corrupt ?? assert.fail('nothing found'), /^2 blobs in containerd are corrupt/, /pull them again/)
  })

  it('is not spoken of where there is none', async () => {
    assert.deepEqual(await found({ offered: none, unproven: none, corrupt: none }), [])
    assert.deepEqual(await found(undefined), [])
    assert.deepEqual(await checkContainerd(new URL(`http://127.0.0.1:${await closedPort()}`)), [])
  })
})

describe('agent', () => {
  for (const [what, answer, hasTracker, problem] of [
    ['ready', { ready: true, tracker: { connected: true } }, true, undefined],
    ['ready without a tracker', { ready: true, tracker: { connected: false } }, false, undefined],
    ['not ready', { ready: false, tracker: { connected: false } }, false, /is not ready/],
    ['without its tracker', { ready: true, tracker: { connected: false } }, true, /no connection to a tracker/],
    ['another program', { hello: 1 }, false, /no agent answers/]
  ] as const) {
    it(what, async () => {
      await using server = await serve((_request, response) => response.end(JSON.stringify(answer)))
      const finding = await checkAgent(new URL(`http://${server.host}`), hasTracker)
      if (problem === undefined) assert.equal(finding.status, 'ok')
      else assertProblem(finding, problem, /./)
    })
  }

  it('is not there', async () => {
    const port = await closedPort()
    assertProblem(await checkAgent(new URL(`http://127.0.0.1:${port}`), false), /no agent answers/, /layerswarm agent/)
    assertProblem(await checkMirror(`http://127.0.0.1:${port}`), /no mirror answers/, /start the agent/)
  })

  it('has a mirror, or another program has its port', async () => {
    await using mirror = await serve((_request, response) =>
      response.setHeader('Docker-Distribution-Api-Version', 'registry/2.0').end('{}')
    )
    assert.equal((await checkMirror(`http://${mirror.host}`)).status, 'ok')
    await using other = await serve((_request, response) => response.end('hello'))
    assertProblem(await checkMirror(`http://${other.host}`), /no registry mirror/, /--mirror-listen/)
  })
})

describe('cluster key', () => {
  it('is shown by a fingerprint, never itself', async () => {
    const file = join(dir, 'good.key')
    const key = newClusterKey()
    writeFileSync(file, key, { mode: 0o600 })
    const { finding } = await checkClusterKey(file)
    assert.equal(finding.status, 'ok')
    assert.match(finding.text, /fingerprint [0-9a-f]{8},/)
    assert.ok(!finding.text.includes(key))
    chmodSync(file, 0o644)
    assertProblem((await checkClusterKey(file)).finding, /other users can read/, /chmod 600/)
  })

  it('cannot be read, or is none', async () => {
    assertProblem((await checkClusterKey(join(dir, 'gone.key'))).finding, /gone\.key/, /copy the fleet's key/)
    writeFileSync(join(dir, 'bad.key'), 'secret')
    assertProblem((await checkClusterKey(join(dir, 'bad.key'))).finding, /bad\.key/, /copy the fleet's key/)
  })
})

describe('tracker', () => {
  const log = createLogger({ name: 'test', level: 'silent', format: 'json' })
  const key = parseClusterKey(newClusterKey())

  async function startTracker() {
    return await createNode(
      { identity: await newIdentity(), version: '0', listen: { host: '127.0.0.1', port: 0 }, clusterKey: key },
      { log }
    )
  }

  it('answers', async () => {
    await using tracker = await startTracker()
    const address = `/ip4/127.0.0.1/tcp/${tracker.port}`
    const findings = await checkTrackers([address, `${address}/p2p/${tracker.id}`], key)
    assert.deepEqual(
      findings.map(({ status }) => status),
      ['ok', 'ok']
    )
  })

  it('has another key, or another id', async () => {
    await using tracker = await startTracker()
    const address = `/ip4/127.0.0.1/tcp/${tracker.port}`
    const [wrongKey] = await checkTrackers([address], parseClusterKey(newClusterKey()))
    assert.ok(wrongKey)
    assertProblem(wrongKey, /another cluster key/, /same key file/)
    const [wrongId] = await checkTrackers([`${address}/p2p/${(await newIdentity()).id}`], key)
    assert.ok(wrongId)
    assertProblem(wrongId, /another id/, /p2p\/ID/)
  })

  it('is not there', async () => {
    const port = await closedPort()
    const [finding] = await checkTrackers([`/ip4/127.0.0.1/tcp/${port}`], key)
    assert.ok(finding)
    assertProblem(finding, /nobody answers/, new RegExp(`TCP port ${port}`))
  })
})

describe('peers', () => {
  async function knownPeers(...ports: readonly number[]): Promise<string> {
    const dataDir = mkdtempSync(join(dir, 'data-'))
    const peers = await Promise.all(
      ports.map(async (port) => ({ id: (await newIdentity()).id, addrs: [`/ip4/127.0.0.1/tcp/${port}`], name: 'h' }))
    )
    writeFileSync(join(dataDir, 'known-peers.json'), JSON.stringify(peers))
    return dataDir
  }

  it('one of which can be reached', async () => {
    await using peer = await serve(() => undefined)
    const dataDir = await knownPeers(await closedPort(), Number(peer.host.split(':')[1]))
    const finding = await checkPeers(dataDir, ANYWHERE, [])
    assert.deepEqual([finding.status, finding.text], ['ok', '1 of the 2 hosts last heard of can be reached'])
  })

  it('of which none can be reached', async () => {
    assertProblem(await checkPeers(await knownPeers(await closedPort()), ANYWHERE, []), /none of the 1 hosts/, /TCP port 5052 .* firewall/)
  })

  it('that nobody told of yet', async () => {
    assert.equal((await checkPeers(dir, ANYWHERE, [])).status, 'unknown')
  })

  it('that cannot come in', async () => {
    const finding = await checkPeers(dir, { host: '127.0.0.1', port: 5052 }, ['/ip4/192.0.2.1/tcp/5060'])
    assertProblem(finding, /other hosts cannot connect/, /cluster key/)
  })
})

describe('host', () => {
  for (const [what, off, status] of [
    ['right', 0, 'ok'],
    ['behind', 3_600_000, 'problem'],
    ['ahead', -3_600_000, 'problem']
  ] as const) {
    it(`the clock is ${what}`, async () => {
      await using registry = await serve((_request, response) => response.setHeader('Date', new Date(Date.now() + off).toUTCString()).end())
      const finding = await checkClock({ registry: [registry.host], insecureRegistry: [registry.host] })
      assert.equal(finding.status, status)
      if (status === 'problem') assertProblem(finding, new RegExp(`3\\d{3} s ${what}`), /timedatectl/)
    })
  }

  it('the clock has nothing to be compared with', async () => {
    const registry = [`127.0.0.1:${await closedPort()}`]
    assert.equal((await checkClock({ registry, insecureRegistry: registry })).status, 'unknown')
  })

  it('the disk has room', async () => {
    assert.match((await checkDisk(join(dir, 'not', 'yet'))).text, /GB free/)
  })

  it('the disk cannot be looked at', async () => {
    assert.equal((await checkDisk(join(dir, 'x'.repeat(300)))).status, 'unknown')
  })

  it('the disk cannot be written to', async () => {
    assertProblem(await checkDisk('/proc/sys'), /cannot be written|nearly full/, /./)
  })
})

describe('runtimes', () => {
  const settings = { mirrorUrl: 'http://127.0.0.1:5050', registries: ['docker.io'], onlyRegistries: false }
  const cri = 'version = 2\n[plugins."io.containerd.grpc.v1.cri"'
  const hosts = '[host."http://127.0.0.1:5050"]\n  capabilities = ["pull"]\n'

  async function check(
    config: string,
    hostFiles: Readonly<Record<string, string>>,
    mirrorUrl = settings.mirrorUrl
  ): Promise<readonly Finding[]> {
    const root = mkdtempSync(join(dir, 'etc-'))
    writeFileSync(join(root, 'config.toml'), config)
    for (const [name, text] of Object.entries(hostFiles)) {
      mkdirSync(join(root, 'certs.d', name), { recursive: true })
      writeFileSync(join(root, 'certs.d', name, 'hosts.toml'), text)
    }
    const places = {
      containerdConfig: join(root, 'config.toml'),
      dockerConfig: join(root, 'daemon.json'),
      registriesConfDir: join(root, 'conf.d')
    }
    await installMirror(runtimeNamed('containerd', places), { ...settings, mirrorUrl }, { dataDir: root })
    return await checkRuntimes(settings, places, root)
  }

  it('ask the mirror', async () => {
    assert.deepEqual(
      (await check('version = 2\n', {})).map(({ status }) => status),
      ['ok']
    )
  })

  it('ask another address', async () => {
    const [finding] = await check('version = 2\n', {}, 'http://127.0.0.1:6060')
    assert.ok(finding)
    assertProblem(
      finding,
      /asks http:\/\/127\.0\.0\.1:6060, but the agent listens at http:\/\/127\.0\.0\.1:5050/,
      /--mirror-url http:\/\/127\.0\.0\.1:5050$/
    )
  })

  it('throw away what could be shared', async () => {
    const [finding] = await check(`${cri}.containerd]\ndiscard_unpacked_layers = true\n`, { _default: hosts })
    assert.ok(finding)
    assertProblem(finding, /discard_unpacked_layers is on/, /= false/)
  })

  it('do not ask, any of them', async () => {
    const root = mkdtempSync(join(dir, 'none-'))
    const places = { containerdConfig: join(root, 'c.toml'), dockerConfig: join(root, 'd.json'), registriesConfDir: join(root, 'conf.d') }
    const [finding] = await checkRuntimes(settings, places, root)
    assert.ok(finding)
    assertProblem(finding, /no container runtime of this host asks the agent/, /layerswarm mirror install --runtime containerd/)
  })
})
