import { agentOptions } from '@layerswarm/agent/config.ts'
import type { ContentSink } from '@layerswarm/agent/images/take-in.ts'
import type { Abortable, ImageSource, LocalImageService } from '@layerswarm/agent/ports.ts'
import {
  BLOBS_PATH,
  CHECK_PATH,
  type CheckRequest,
  CONTENT_PATH,
  checkLine,
  GC_PATH,
  gcReply,
  heldBlob,
  IMAGES_PATH,
  imagesLine
} from '@layerswarm/core/api/images-api.ts'
import { PUSH_PATH, type PushProgress, type PushRequest, type PushSummary, pushLine } from '@layerswarm/core/api/push-api.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { type Descriptor, isManifestType, OCTETS } from '@layerswarm/core/image/manifest.ts'
import { parseReference, scopeOf } from '@layerswarm/core/image/reference.ts'
import type { Command } from 'commander'
import { answer, answerLines, askAgent, brokeOff, putBlob, refusal } from './agent-client.ts'
import { daemonConfig, daemonLog } from './daemon-options.ts'
import { formatBytes } from './format.ts'

/** What can be done with the images of this host, whoever does it. */
export type ImageWork = ContentSink & Pick<LocalImageService, 'list' | 'blobs' | 'check' | 'gc' | 'push'>

export interface ImagesOfHost extends AsyncDisposable {
  readonly images: ImageWork
}

/**
 * The images of this host through its agent, or on the same data directory in this process where none runs, which it says.
 * @param doing what is done, as in `checking`
 * @param options.containerd what containerd holds counts too (default), which may have to be hashed first
 * @throws {LayerswarmError} AGENT_UNREACHABLE, STORE_BUSY, STORE_FAILED
 */
export async function imagesOfHost(
  command: Command,
  agent: URL,
  doing: string,
  signal: AbortSignal,
  { containerd = true }: { readonly containerd?: boolean } = {}
): Promise<ImagesOfHost> {
  const alive = await askAgent(agent, '/healthz', { signal })
  if (alive === undefined) {
    await using parts = new AsyncDisposableStack()
    const opened = parts.use(await openHere(command, agent, doing))
    const onHashing = (bytes: number) => process.stderr.write(`hashing what containerd holds, once: ${formatBytes(bytes)} left\n`)
    if (containerd) await opened.lookIntoContainerd({ signal, onHashing })
    parts.move()
    return { images: opened.local, [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose]() }
  }
  await alive.body?.cancel()
  if (alive.status !== 200) throw await refusal(agent, new Response(null, { status: alive.status }))
  return { images: new ImagesOfAgent(agent), [Symbol.asyncDispose]: async () => undefined }
}

/** Opens the data directory that the agent would use, and says so. @throws {LayerswarmError} STORE_BUSY, STORE_FAILED, CONFIG_INVALID */
export async function openHere(command: Command, agent: URL, doing: string, place = 'on') {
  const { config } = await daemonConfig(command, agentOptions)
  process.stderr.write(`no agent at ${agent.origin}: ${doing} in this process, ${place} ${config.dataDir}\n`)
  const { openLocal } = await import('@layerswarm/agent/local.ts')
  // What the agent would log of use to its operator is this command's own output here.
  const logLevel = config.logLevel === 'info' ? 'warn' : config.logLevel
  return await openLocal(config, { log: daemonLog(command.name(), { logLevel, logFormat: config.logFormat }) })
}

/** An image of a repository that the agent at `agentUrl` can have. @param digest of its root */
export function agentSource(agentUrl: URL, reference: string, digest: Digest): ImageSource {
  const scope = scopeOf(parseReference(reference))
  return {
    // What it is shows when it is read.
    root: { digest, mediaType: OCTETS, size: 0 },
    async *read(content, { from = 0, signal = new AbortController().signal } = {}) {
      const kind = isManifestType(content.mediaType) || content.digest === digest ? 'manifest' : 'blob'
      const query = new URLSearchParams({ scope, kind })
      const response = await present(agentUrl, askAgent(agentUrl, `${CONTENT_PATH}/${content.digest}?${query}`, { signal }))
      if (response.status !== 200 || response.body === null) throw await refusal(agentUrl, response)
      let skip = from
      for await (const chunk of response.body) {
        if (skip < chunk.byteLength) yield chunk.subarray(skip)
        skip = Math.max(0, skip - chunk.byteLength)
      }
    },
    [Symbol.asyncDispose]: async () => undefined
  }
}

async function present(agentUrl: URL, asked: Promise<Response | undefined>): Promise<Response> {
  const response = await asked
  if (response === undefined) throw new LayerswarmError('AGENT_UNREACHABLE', { detail: `${agentUrl.href} is gone` })
  return response
}

const NEVER = new AbortController().signal

/** What the agent at an address does. */
class ImagesOfAgent implements ImageWork {
  readonly #agent: URL

  constructor(agent: URL) {
    this.#agent = agent
  }

  async *list(platforms: CheckRequest['platforms'], { signal = NEVER }: Abortable = {}) {
    const query = new URLSearchParams()
    for (const platform of platforms === undefined ? [] : [platforms].flat()) query.append('platform', platform)
    yield* answerLines(this.#agent, await this.#ask(`${IMAGES_PATH}?${query}`, { signal }), imagesLine, signal)
  }

  async *blobs({ signal = NEVER }: Abortable = {}) {
    yield* answerLines(this.#agent, await this.#ask(`${BLOBS_PATH}?images=true`, { signal }), heldBlob, signal)
  }

  async *check(request: CheckRequest, { signal = NEVER }: Abortable = {}) {
    yield* answerLines(this.#agent, await this.#ask(CHECK_PATH, { method: 'POST', body: request, signal }), checkLine, signal)
  }

  async gc({ signal = NEVER }: Abortable = {}) {
    return await answer(this.#agent, await this.#ask(GC_PATH, { method: 'POST', signal }), gcReply)
  }

  async push(
    request: PushRequest,
    { signal = NEVER, onProgress }: Abortable & { readonly onProgress?: (progress: PushProgress) => void } = {}
  ): Promise<PushSummary> {
    const response = await this.#ask(PUSH_PATH, { method: 'POST', body: request, signal })
    for await (const line of answerLines(this.#agent, response, pushLine, signal)) {
      if ('summary' in line) return line.summary
      onProgress?.(line.progress)
    }
    throw brokeOff(this.#agent)
  }

  async has({ digest }: Descriptor, { signal = NEVER }: Abortable = {}): Promise<boolean> {
    const response = await this.#ask(`${BLOBS_PATH}/${digest}`, { signal })
    if (response.status === 404) {
      await response.body?.cancel()
      return false
    }
    return (await answer(this.#agent, response, heldBlob)).state === 'complete'
  }

  async put({ digest, size }: Descriptor, bytes: AsyncIterable<Uint8Array>, { signal = NEVER }: Abortable = {}): Promise<void> {
    await putBlob(new URL(`${BLOBS_PATH}/${digest}`, this.#agent), size, bytes, signal)
  }

  async #ask(path: string, ask: Parameters<typeof askAgent>[2]): Promise<Response> {
    return await present(this.#agent, askAgent(this.#agent, path, ask))
  }
}
