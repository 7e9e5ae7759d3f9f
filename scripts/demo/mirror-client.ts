import { createHash } from 'node:crypto'
import { MEDIA_TYPES } from '@layerswarm/core/image/manifest.ts'

/** containerd and docker fetch this many layers at once. */
const PARALLEL_LAYERS = 3

interface ManifestJson {
  readonly config: { readonly digest: string }
  readonly layers: readonly { readonly digest: string }[]
}

export interface ClientPull {
  readonly mirrorUrl: string
  /** The registry that the image is of: the mirror is told in `ns`, as containerd does. */
  readonly registry: string
  readonly repository: string
  /** A tag or a digest. */
  readonly reference: string
  readonly onBytes: (count: number) => void
  readonly signal: AbortSignal
}

/**
 * Pulls an image through a mirror as a container runtime does, and checks every digest.
 * @throws when the mirror answers anything but the right bytes
 */
export async function pullThroughMirror(pull: ClientPull): Promise<void> {
  const bytes = await get(pull, `manifests/${pull.reference}`, (reply) => reply.headers.get('docker-content-digest'))
  const { config, layers } = JSON.parse(bytes.toString()) as ManifestJson
  const queue = [config, ...layers].map(({ digest }) => digest)
  await Promise.all(
    Array.from({ length: PARALLEL_LAYERS }, async () => {
      for (let digest = queue.shift(); digest !== undefined; digest = queue.shift()) {
        const expected = digest
        await get(pull, `blobs/${expected}`, () => expected, false)
      }
    })
  )
}

async function get(
  { mirrorUrl, registry, repository, onBytes, signal }: ClientPull,
  path: string,
  digestOf: (reply: Response) => string | null,
  keep = true
): Promise<Buffer> {
  const url = `${mirrorUrl}/v2/${repository}/${path}?ns=${encodeURIComponent(registry)}`
  const reply = await fetch(url, { headers: { accept: `${MEDIA_TYPES.ociManifest}, */*` }, signal })
  if (reply.status !== 200 || reply.body === null) throw new Error(`GET ${url}: ${reply.status} ${await reply.text()}`)
  const hash = createHash('sha256')
  const chunks: Uint8Array[] = []
  for await (const chunk of reply.body) {
    hash.update(chunk)
    onBytes(chunk.byteLength)
    if (keep) chunks.push(chunk)
  }
  const digest = `sha256:${hash.digest('hex')}`
  if (digest !== digestOf(reply)) throw new Error(`GET ${url}: the bytes are ${digest}, not ${digestOf(reply)}`)
  return Buffer.concat(chunks)
}
