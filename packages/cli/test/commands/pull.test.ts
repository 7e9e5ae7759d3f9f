import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { describe, it } from 'node:test'
import { NDJSON_TYPE, PULL_PATH, type PullLine, type PullSummary } from '@layerswarm/core/api/local-api.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { finished, runCommand, startCommand } from '../run-command.ts'

const LAYER = `sha256:${'ab'.repeat(32)}` as Digest
const ROOT = `sha256:${'cd'.repeat(32)}` as Digest

const SUMMARY: PullSummary = {
  image: 'docker.io/library/app:latest',
  digest: ROOT,
  manifests: 1,
  blobs: 2,
  skipped: 0,
  bytes: 101_000_000,
  counts: { local: 1_000_000, peer: 75_000_000, registry: 25_000_000 },
  stale: false,
  seconds: 2.04
}

function progress(peer: number, done = false): PullLine {
  return { progress: { digest: LAYER, size: 100_000_000, counts: { local: 0, peer, registry: 0 }, done } }
}

function failed(code: string, message: string): PullLine {
  return { error: { code, message, remedy: '' } }
}

interface FakeAgent extends AsyncDisposable {
  readonly url: string
  readonly requests: unknown[]
}

/** The agent's end of the local API. */
async function fakeAgent(answer: (response: ServerResponse, request: IncomingMessage) => void): Promise<FakeAgent> {
  const requests: unknown[] = []
  const server = createServer(async (request, response) => {
    requests.push([request.method, request.url, JSON.parse(await text(request))])
    answer(response, request)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    [Symbol.asyncDispose]: async () => {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    }
  }
}

function tells(...events: readonly object[]): (response: ServerResponse) => void {
  return (response) => {
    response.writeHead(200, { 'content-type': NDJSON_TYPE })
    response.end(events.map((event) => `${JSON.stringify(event)}\n`).join(''))
  }
}

describe('through an agent', () => {
  it('asks for the image and tells progress and result in plain lines', async () => {
    await using agent = await fakeAgent(
      tells(progress(0), progress(30_000_000), progress(31_000_000), progress(80_000_000), progress(100_000_000, true), {
        summary: SUMMARY
      })
    )
    const { code, stdout, stderr } = await runCommand(['pull', 'app', '--agent', agent.url])
    assert.equal(stderr, '')
    assert.equal(
      stdout,
      [
        'abababababab  25 %      30.0 MB of 100.0 MB',
        'abababababab  75 %      80.0 MB of 100.0 MB',
        'abababababab  done      100.0 MB from peers',
        'docker.io/library/app:latest',
        ROOT,
        '1 manifest and 2 blobs, 101.0 MB in 2.0 s: 75.0 MB from peers,',
        '25.0 MB from the registry, 1.00 MB already here',
        ''
      ].join('\n')
    )
    assert.equal(code, 0)
    assert.deepEqual(agent.requests, [['POST', PULL_PATH, { image: 'app' }]])
  })

  it('passes platforms on', async () => {
    await using agent = await fakeAgent(tells({ summary: SUMMARY }))
    await runCommand(['pull', 'app', '--agent', agent.url, '--platform', 'linux/arm64', '--platform', 'linux/amd64'])
    await runCommand(['pull', 'app', '--agent', agent.url, '--platform', 'all'])
    assert.deepEqual(agent.requests, [
      ['POST', PULL_PATH, { image: 'app', platforms: ['linux/arm64', 'linux/amd64'] }],
      ['POST', PULL_PATH, { image: 'app', platforms: 'all' }]
    ])
  })

  it('prints only the result as JSON', async () => {
    await using agent = await fakeAgent(tells(progress(0), progress(100_000_000, true), { summary: SUMMARY }))
    const { stdout } = await runCommand(['pull', 'app', '--agent', agent.url, '--json'])
    assert.deepEqual(JSON.parse(stdout), SUMMARY)
  })

  it('warns of a tag that could not be checked', async () => {
    await using agent = await fakeAgent(tells({ summary: { ...SUMMARY, stale: true } }))
    const { code, stderr } = await runCommand(['pull', 'app', '--agent', agent.url])
    assert.match(stderr, /^warning: the registry cannot be reached/)
    assert.equal(code, 0)
  })

  for (const [line, expected, exit] of [
    [
      failed('NOT_FOUND', 'the registry does not have this content: app:1'),
      /^error: the registry does not have this content: app:1\nfix: check the reference\n$/,
      1
    ],
    [failed('REFERENCE_INVALID', 'not a valid image reference'), /^error: not a valid image reference\nfix: write /, 2],
    [failed('INVENTED_LATER', 'it has gone wrong'), /^error: it has gone wrong\n$/, 1],
    [progress(5), /^error: this host's agent cannot be reached: .* broke off.*\nfix: /, 1],
    [{ unknown: 1 }, /^error: this host's agent cannot be reached: .* broke off \(a line of another version\)\nfix: /, 1]
  ] as const) {
    it(`fails on ${JSON.stringify(line).slice(0, 50)}`, async () => {
      await using agent = await fakeAgent(tells(line))
      const { code, stderr } = await runCommand(['pull', 'app', '--agent', agent.url])
      assert.match(stderr, expected)
      assert.equal(code, exit)
    })
  }

  it('refuses what is no agent', async () => {
    await using agent = await fakeAgent((response) => response.writeHead(404).end())
    const { code, stderr } = await runCommand(['pull', 'app', '--agent', agent.url])
    assert.match(stderr, /answers 404, as no agent does\nfix: start it with/)
    assert.equal(code, 1)
  })

  it('tells why the agent refuses', async () => {
    const error = failed('PLATFORM_UNKNOWN', 'no such platform: linux/z80')
    await using agent = await fakeAgent((response) => response.writeHead(400).end(JSON.stringify(error)))
    const { code, stderr } = await runCommand(['pull', 'app', '--agent', agent.url])
    assert.match(stderr, /^error: no such platform: linux\/z80\nfix: use os\/architecture/)
    assert.equal(code, 1)
  })

  it('gives up when it is interrupted', async () => {
    const asked = Promise.withResolvers<IncomingMessage>()
    await using agent = await fakeAgent((response, request) => {
      response.writeHead(200, { 'content-type': NDJSON_TYPE })
      response.write(`${JSON.stringify(progress(0))}\n`)
      asked.resolve(request)
    })
    const child = startCommand(['pull', 'app', '--agent', agent.url])
    const end = finished(child)
    const { socket } = await asked.promise
    const closed = new Promise((resolve) => socket.once('close', resolve))
    child.kill('SIGINT')
    assert.equal((await end).code, 130)
    await closed
  })
})

it('does not do the work of another host', async () => {
  const { code, stderr } = await runCommand(['pull', 'app', '--agent', 'http://layerswarm.invalid:5051'])
  assert.match(stderr, /^error: this host's agent cannot be reached: .*layerswarm\.invalid/)
  assert.equal(code, 1)
})
