import { LayerswarmError } from '@layerswarm/core/errors.ts'
import type { Abortable, RuntimeImage, RuntimeImages } from '../ports.ts'
import type { ContainerdPlace } from './locate.ts'

/** The images of this host's containerd. */
export class ContainerdImages implements RuntimeImages {
  readonly #find: () => Promise<ContainerdPlace | undefined>

  constructor(deps: { readonly find: () => Promise<ContainerdPlace | undefined> }) {
    this.#find = deps.find
  }

  async put(image: RuntimeImage, options: Abortable = {}): Promise<{ blobs: number; bytes: number }> {
    const place = await this.#find()
    if (place === undefined) throw new LayerswarmError('CONTAINERD_FAILED', { detail: 'there is none on this host' })
    // The gRPC library takes some 20 MiB: only where there is somebody to talk to.
    const { putImage } = await import('./put-image.ts')
    return await putImage(place.socket, image, options)
  }
}
