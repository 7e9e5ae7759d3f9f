import type { Clock } from '@layerswarm/core/clock.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import type { Abortable, RuntimeImage, RuntimeImages } from '../ports.ts'
import type { ContainerdPlace } from './locate.ts'

/** Somebody waits for this answer, which is a line of its database. */
const READY_MS = 10_000

export interface ContainerdImagesDeps {
  readonly find: () => Promise<ContainerdPlace | undefined>
  readonly clock: Clock
}

/** The images of this host's containerd. */
export class ContainerdImages implements RuntimeImages {
  readonly #deps: ContainerdImagesDeps

  constructor(deps: ContainerdImagesDeps) {
    this.#deps = deps
  }

  async ready(options: Abortable = {}): Promise<void> {
    const { socket } = await this.#place()
    const { ContainerdClient } = await import('./client.ts')
    using client = new ContainerdClient(socket)
    await client.namespaces({ ...options, deadline: READY_MS })
  }

  async put(image: RuntimeImage, options: Abortable = {}): Promise<{ blobs: number; bytes: number }> {
    const { socket } = await this.#place()
    // The gRPC library takes some 20 MiB: only where there is somebody to talk to.
    const { putImage } = await import('./put-image.ts')
    return await putImage(socket, image, { ...options, clock: this.#deps.clock })
  }

  async #place(): Promise<ContainerdPlace> {
    const place = await this.#deps.find()
    if (place === undefined) throw new LayerswarmError('CONTAINERD_FAILED', { detail: 'there is none on this host' })
    return place
  }
}
