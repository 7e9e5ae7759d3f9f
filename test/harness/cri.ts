import { fileURLToPath } from 'node:url'
import grpc from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'

const PROTO = fileURLToPath(new URL('./cri.proto', import.meta.url))
const CALL_TIMEOUT_MS = 120_000

interface CriImage {
  readonly id: string
  readonly repoTags: readonly string[]
  readonly repoDigests: readonly string[]
  readonly size: string
}

/** A client of the Kubernetes container runtime interface, as the kubelet is one: gRPC over containerd's socket. */
export class CriClient implements Disposable {
  readonly #images: grpc.Client
  readonly #runtime: grpc.Client

  constructor(socket: string) {
    const { runtime } = grpc.loadPackageDefinition(loadSync(PROTO)) as unknown as CriPackage
    const credentials = grpc.credentials.createInsecure()
    this.#images = new runtime.v1.ImageService(`unix:${socket}`, credentials)
    this.#runtime = new runtime.v1.RuntimeService(`unix:${socket}`, credentials)
  }

  async version(): Promise<{ runtimeName: string; runtimeVersion: string }> {
    return await this.#call(this.#runtime, 'Version', {})
  }

  /** Pulls an image as the kubelet does; returns the id that the runtime gives it, its config's digest. */
  async pull(image: string): Promise<string> {
    const { imageRef } = await this.#call<{ imageRef: string }>(this.#images, 'PullImage', { image: { image } })
    return imageRef
  }

  async status(image: string): Promise<CriImage | undefined> {
    const response = await this.#call<{ image?: CriImage | null }>(this.#images, 'ImageStatus', { image: { image } })
    return response.image ?? undefined
  }

  async remove(image: string): Promise<void> {
    await this.#call(this.#images, 'RemoveImage', { image: { image } })
  }

  [Symbol.dispose](): void {
    this.#images.close()
    this.#runtime.close()
  }

  #call<T>(client: grpc.Client, method: string, request: object): Promise<T> {
    const invoke = (client as unknown as Record<string, Invoke>)[method]
    return new Promise((resolve, reject) => {
      const done = (error: Error | null, response: unknown): void => (error === null ? resolve(response as T) : reject(error))
      invoke?.call(client, request, { deadline: Date.now() + CALL_TIMEOUT_MS }, done)
    })
  }
}

type Invoke = (request: object, options: grpc.CallOptions, done: (error: Error | null, response: unknown) => void) => void

interface CriPackage {
  readonly runtime: { readonly v1: { readonly ImageService: typeof grpc.Client; readonly RuntimeService: typeof grpc.Client } }
}
