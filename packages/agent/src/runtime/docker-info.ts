import { request } from 'node:http'
import { json } from 'node:stream/consumers'
import { z } from 'zod'

const TIMEOUT_MS = 2_000

const infoSchema = z.object({
  RegistryConfig: z.object({ Mirrors: z.array(z.string()).nullish() }).nullish(),
  DriverStatus: z.array(z.array(z.string())).nullish()
})

export interface DockerInfo {
  readonly mirrors: readonly string[]
  /** It keeps images in containerd, and reads hosts.toml files for all registries. */
  readonly containerdStore: boolean
}

/** What `docker info` tells, from the socket. @returns undefined when nobody answers there or we may not ask */
export async function dockerInfo(socketPath: string): Promise<DockerInfo | undefined> {
  const signal = AbortSignal.timeout(TIMEOUT_MS)
  try {
    const body = await new Promise<unknown>((resolve, reject) => {
      request({ socketPath, path: '/info', host: 'localhost', signal, agent: false }, (response) => json(response).then(resolve, reject))
        .on('error', reject)
        .end()
    })
    const { RegistryConfig, DriverStatus } = infoSchema.parse(body)
    const containerdStore = (DriverStatus ?? []).some(
      ([key, value]) => key === 'driver-type' && value?.startsWith('io.containerd.snapshotter')
    )
    return { mirrors: RegistryConfig?.Mirrors ?? [], containerdStore }
  } catch {
    return undefined
  }
}
