import assert from 'node:assert/strict'
import type { ContentRef, RegistryContent } from '@layerswarm/agent/ports.ts'
import type { CredentialSource } from '@layerswarm/agent/registry/credentials.ts'
import { type RegistryClientOptions, UndiciRegistryClient } from '@layerswarm/agent/registry/registry-client.ts'
import type { Clock } from '@layerswarm/core/clock.ts'
import type { Digest } from '@layerswarm/core/digest.ts'
import { type ErrorCode, isLayerswarmError } from '@layerswarm/core/errors.ts'
import { FakeRegistry, type FakeRegistryOptions } from '@layerswarm/testkit/fake-registry.ts'

export const REPOSITORY = 'team/app'

/** A clock on which sleeping takes no time but is seen. */
class SkippingClock implements Clock {
  readonly slept: number[] = []
  #now = 0

  now(): number {
    return this.#now
  }

  async sleep(ms: number, { signal }: { signal?: AbortSignal } = {}): Promise<void> {
    signal?.throwIfAborted()
    this.slept.push(ms)
    this.advance(ms)
  }

  advance(ms: number): void {
    this.#now += ms
  }
}

/** A client and what it did. */
export class ClientUnderTest implements AsyncDisposable {
  readonly clock = new SkippingClock()
  readonly lines: string[] = []
  readonly statuses: (number | 'error')[] = []
  received = 0
  sent = 0
  readonly client: UndiciRegistryClient

  constructor(host: string, options: Partial<RegistryClientOptions> = {}, credentials?: CredentialSource) {
    const note = (...line: unknown[]) => {
      this.lines.push(JSON.stringify(line))
    }
    this.client = new UndiciRegistryClient(
      {
        log: { debug: note, warn: note },
        clock: this.clock,
        random: () => 0.5,
        metrics: {
          onRequest: ({ status }) => this.statuses.push(status),
          onBytes: ({ bytes }) => {
            this.received += bytes
          },
          onSent: ({ bytes }) => {
            this.sent += bytes
          }
        },
        ...(credentials === undefined ? {} : { credentials })
      },
      { registries: new Map([[host, { insecure: true }]]), userAgent: 'layerswarm/test', ...options }
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client[Symbol.asyncDispose]()
  }
}

/** A fake registry with one blob in it, and a client of it. */
export class Bench implements AsyncDisposable {
  readonly registry: FakeRegistry
  readonly under: ClientUnderTest
  readonly blob: ContentRef
  readonly bytes: Uint8Array

  private constructor(registry: FakeRegistry, under: ClientUnderTest, blob: ContentRef, bytes: Uint8Array) {
    this.registry = registry
    this.under = under
    this.blob = blob
    this.bytes = bytes
  }

  static async open(
    bytes: Uint8Array,
    options: { registry?: FakeRegistryOptions; client?: Partial<RegistryClientOptions>; credentials?: CredentialSource } = {}
  ): Promise<Bench> {
    const registry = await FakeRegistry.start(options.registry)
    const digest = await registry.putBlob(REPOSITORY, bytes)
    const blob: ContentRef = { registry: registry.host, repository: REPOSITORY, digest, kind: 'blob' }
    return new Bench(registry, new ClientUnderTest(registry.host, options.client, options.credentials), blob, bytes)
  }

  get client(): UndiciRegistryClient {
    return this.under.client
  }

  manifest(digest: Digest): ContentRef {
    return { ...this.blob, digest, kind: 'manifest' }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.under[Symbol.asyncDispose]()
    await this.registry[Symbol.asyncDispose]()
  }
}

export async function bytesOf(content: RegistryContent | Promise<RegistryContent>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of (await content).body) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** Buffer.equals, since a deep comparison of MiB takes seconds and prints them all. */
export function assertBytes(got: Uint8Array, want: Uint8Array): void {
  assert.equal(got.byteLength, want.byteLength)
  assert.ok(Buffer.from(got).equals(want), 'the bytes are right')
}

export async function assertCode(work: Promise<unknown>, ...codes: ErrorCode[]): Promise<void> {
  await assert.rejects(work, (error) => {
    if (!isLayerswarmError(error, ...codes)) throw error
    return true
  })
}
