// needs: docker-registry
/**
 * What the OCI distribution specification asks of a registry, for pull, push and listing, in the words of its conformance
 * suite: of a real registry itself, and of the mirror before it, which must not do worse.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Digest, digestOf } from '@layerswarm/core/digest.ts'
import { MEDIA_TYPES } from '@layerswarm/core/image/manifest.ts'
import { DockerRegistry } from '@layerswarm/testkit/docker-registry.ts'
import { SeededRandom } from '@layerswarm/testkit/seeded-random.ts'
import { PushFixture } from './push-fixture.ts'

const UNKNOWN = `sha256:${'0'.repeat(64)}`

/** The specification's requests to a registry, whose repositories begin with `prefix`. */
class Client {
  readonly #url: string
  readonly name: string
  readonly #blobs = new Map<string, Uint8Array>()

  constructor(url: string, prefix: string) {
    this.#url = url
    this.name = `${prefix}conformance/app`
  }

  /** Bytes that are the same whenever they are asked for. */
  bytes(name: string, size = 5000): Uint8Array {
    const bytes = this.#blobs.get(name) ?? new SeededRandom(name).bytes(size)
    this.#blobs.set(name, bytes)
    return bytes
  }

  async ask(method: string, path: string, headers: Record<string, string> = {}, body?: Uint8Array): Promise<Response> {
    const url = new URL(path.startsWith('/') || path.startsWith('http') ? path : `/v2/${this.name}/${path}`, this.#url)
    return await fetch(url, { method, headers, ...(body === undefined ? {} : { body: Buffer.from(body) }) })
  }

  async begin(): Promise<string> {
    return located(await this.ask('POST', 'blobs/uploads/'), 202)
  }

  async push(name: string): Promise<Digest> {
    const digest = digestOf(this.bytes(name))
    located(await this.ask('PUT', ended(await this.begin(), digest), octets, this.bytes(name)), 201)
    return digest
  }

  manifest(layer: Digest, mediaType: string = MEDIA_TYPES.ociManifest): Uint8Array {
    const descriptor = { mediaType: 'application/vnd.example', digest: layer, size: 5000 }
    return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, config: descriptor, layers: [descriptor] }))
  }
}

const octets = { 'content-type': 'application/octet-stream' }
const asManifest = { 'content-type': MEDIA_TYPES.ociManifest }

function located(reply: Response, status: number): string {
  assert.equal(reply.status, status)
  const location = reply.headers.get('location')
  assert.ok(location)
  return location
}

function ended(location: string, digest: string): string {
  return `${location}${location.includes('?') ? '&' : '?'}digest=${digest}`
}

function ranged(start: number, end: number): Record<string, string> {
  return { ...octets, 'content-range': `${start}-${end - 1}` }
}

type Rule = readonly [name: string, holds: (client: Client) => Promise<void>]

const RULES: readonly Rule[] = [
  ['GET /v2/ is 200', async (client) => assert.equal((await client.ask('GET', '/v2/')).status, 200)],
  ['an unknown blob is 404', async (client) => assert.equal((await client.ask('GET', `blobs/${UNKNOWN}`)).status, 404)],
  ['an unknown tag is 404', async (client) => assert.equal((await client.ask('HEAD', 'manifests/none')).status, 404)],
  [
    'errors have codes',
    async (client) => {
      const { errors } = (await (await client.ask('GET', 'manifests/none')).json()) as { errors: { code: string }[] }
      assert.match(errors[0]?.code ?? '', /^(?:MANIFEST|NAME)_UNKNOWN$/)
    }
  ],
  [
    'a blob in one request has a place afterwards',
    async (client) => {
      const digest = await client.push('one request')
      const reply = await client.ask('GET', `blobs/${digest}`)
      assert.deepEqual(Buffer.from(await reply.arrayBuffer()), Buffer.from(client.bytes('one request')))
      assert.equal((await client.ask('HEAD', `blobs/${digest}`)).headers.get('content-length'), '5000')
    }
  ],
  [
    'a blob with the opening is 201, or 202 and a place to send it to',
    async (client) => {
      const digest = digestOf(client.bytes('opening'))
      const reply = await client.ask('POST', `blobs/uploads/?digest=${digest}`, octets, client.bytes('opening'))
      if (reply.status === 202) located(await client.ask('PUT', ended(located(reply, 202), digest), octets, client.bytes('opening')), 201)
      else located(reply, 201)
      assert.equal((await client.ask('HEAD', `blobs/${digest}`)).status, 200)
    }
  ],
  [
    'a blob that is streamed',
    async (client) => {
      const digest = digestOf(client.bytes('stream'))
      const next = located(await client.ask('PATCH', await client.begin(), octets, client.bytes('stream')), 202)
      located(await client.ask('PUT', ended(next, digest)), 201)
    }
  ],
  [
    'a first part from the middle is 416',
    async (client) =>
      assert.equal((await client.ask('PATCH', await client.begin(), ranged(10, 20), client.bytes('middle').subarray(10, 20))).status, 416)
  ],
  [
    'parts tell how far they got, and so does the upload',
    async (client) => {
      const bytes = client.bytes('parts')
      const first = await client.ask('PATCH', await client.begin(), ranged(0, 2000), bytes.subarray(0, 2000))
      assert.equal(first.headers.get('range'), '0-1999')
      const next = located(first, 202)
      const standing = await client.ask('GET', next)
      assert.deepEqual([standing.status, standing.headers.get('range')], [204, '0-1999'])
      const last = located(await client.ask('PATCH', next, ranged(2000, 5000), bytes.subarray(2000)), 202)
      located(await client.ask('PUT', ended(last, digestOf(bytes))), 201)
    }
  ],
  [
    'a part out of turn is 416',
    async (client) => {
      const next = located(await client.ask('PATCH', await client.begin(), ranged(0, 1000), client.bytes('turn').subarray(0, 1000)), 202)
      assert.equal((await client.ask('PATCH', next, ranged(2000, 3000), client.bytes('turn').subarray(2000, 3000))).status, 416)
    }
  ],
  [
    'a wrong digest is 400',
    async (client) =>
      assert.equal((await client.ask('PUT', ended(await client.begin(), UNKNOWN), octets, client.bytes('wrong'))).status, 400)
  ],
  [
    'an upload that is given up is gone',
    async (client) => {
      const location = await client.begin()
      assert.equal((await client.ask('DELETE', location)).status, 204)
      assert.equal((await client.ask('GET', location)).status, 404)
    }
  ],
  [
    'what another repository has is mounted',
    async (client) => {
      const digest = await client.push('mounted')
      const other = client.name.replace(/app$/, 'other')
      const from = `mount=${digest}&from=${encodeURIComponent(client.name)}`
      located(await client.ask('POST', `/v2/${other}/blobs/uploads/?${from}`), 201)
      assert.equal((await client.ask('HEAD', `/v2/${other}/blobs/${digest}`)).status, 200)
    }
  ],
  [
    'what is to be mounted from nowhere is to be sent',
    async (client) => void located(await client.ask('POST', `blobs/uploads/?mount=${UNKNOWN}&from=${encodeURIComponent(client.name)}`), 202)
  ],
  [
    'a manifest by tag and by digest, as it was sent',
    async (client) => {
      const bytes = client.manifest(await client.push('layer'))
      for (const reference of ['1.0', digestOf(bytes)]) located(await client.ask('PUT', `manifests/${reference}`, asManifest, bytes), 201)
      for (const reference of ['1.0', digestOf(bytes)]) {
        const reply = await client.ask('GET', `manifests/${reference}`, { accept: MEDIA_TYPES.ociManifest })
        assert.equal(reply.headers.get('docker-content-digest'), digestOf(bytes))
        assert.deepEqual(Buffer.from(await reply.arrayBuffer()), Buffer.from(bytes))
      }
    }
  ],
  [
    'a manifest of what is not there is refused',
    async (client) => {
      const reply = await client.ask('PUT', 'manifests/2.0', asManifest, client.manifest(UNKNOWN as Digest))
      assert.ok(reply.status === 400 || reply.status === 404)
    }
  ],
  [
    'tags are listed',
    async (client) => {
      const reply = await client.ask('GET', 'tags/list')
      assert.deepEqual(((await reply.json()) as { tags: string[] }).tags, ['1.0'])
    }
  ],
  [
    'referrers are listed, or not known at all',
    async (client) => {
      const { status } = await client.ask('GET', `referrers/${UNKNOWN}`)
      assert.ok(status === 200 || status === 404)
    }
  ]
]

async function failures(client: Client): Promise<string[]> {
  const failed: string[] = []
  for (const [name, holds] of RULES) {
    await holds(client).catch((error: unknown) => {
      if (!(error instanceof assert.AssertionError)) throw error
      failed.push(`${name}: ${error.message}`)
    })
  }
  return failed
}

test('what the specification asks for, of a registry and of the mirror before it', async (context) => {
  await using registry = await DockerRegistry.start()
  const direct = await failures(new Client(registry.url, 'direct/'))
  context.diagnostic(`the registry itself: ${direct.join('; ') || 'all'}`)
  await using under = await PushFixture.start({ before: registry.host })
  assert.deepEqual(await failures(new Client(under.url, under.path(''))), [])
})
