import { type Clock, systemClock } from '@layerswarm/core/clock.ts'
import { describeError, LayerswarmError } from '@layerswarm/core/errors.ts'
import type { Logger } from '@layerswarm/core/log.ts'
import { loadIdentity } from '@layerswarm/core/p2p/identity.ts'
import type { AgentConfig } from './config.ts'
import { findContainerd } from './containerd/locate.ts'
import { readContainerd } from './containerd/read-once.ts'
import { OfflineDirectory } from './directory/offline-directory.ts'
import type { LocalImages } from './images/local-images.ts'
import { createImages } from './make-images.ts'
import { createSwarm } from './make-swarm.ts'
import type { Abortable, ImageService } from './ports.ts'
import { openStorage } from './storage.ts'
import { JoinedStore } from './store/joined-store.ts'
import { SwarmContentService } from './swarm/content-service.ts'
import { OriginAccess } from './swarm/origin-access.ts'
import { SoloNetwork } from './swarm/solo-network.ts'

/** After which whoever waits wants to know for what. */
const MOMENT_MS = 1_000

export interface OpenedLocal extends AsyncDisposable {
  readonly images: ImageService
  readonly local: LocalImages
  /**
   * Counts what containerd holds now as held here; what was not hashed before is.
   * @param options.onHashing told the bytes that are still to be hashed, if that takes longer than a moment
   * @throws the signal's reason
   */
  lookIntoContainerd(options?: Abortable & { readonly onHashing?: (bytes: number) => void }): Promise<void>
}

/**
 * The images of a data directory without a daemon: no listener, no peers, the registry alone.
 * @throws {LayerswarmError} STORE_BUSY while an agent has the directory open, STORE_FAILED, STORE_FULL
 */
export async function openLocal(
  config: AgentConfig,
  { log, clock = systemClock }: { readonly log: Logger; readonly clock?: Clock }
): Promise<OpenedLocal> {
  await using parts = new AsyncDisposableStack()
  const local = parts.use(await openStorage(config, log))
  const { registry } = local
  const index = local.store.content
  const containerd = local.store.foreign({ clock, log }, { rest: 0 })
  const store = parts.use(new JoinedStore(local.store, containerd))
  const identity = await loadIdentity(config.dataDir)
  const directory = new OfflineDirectory()
  const swarm = parts.use(createSwarm({ local, store, identity, peers: new SoloNetwork(identity.id), directory, clock, log }))
  const access = new OriginAccess({ registry, clock })
  const content = parts.use(new SwarmContentService({ store, swarm, directory, registry, access, knownPeers: () => [], clock, log }))
  const find = (): ReturnType<typeof findContainerd> => findContainerd({ address: config.containerdAddress, root: config.containerdRoot })
  const look = async (options: Abortable = {}): Promise<void> => {
    const place = await find()
    if (place === undefined) throw new LayerswarmError('CONTAINERD_FAILED', { detail: 'there is none on this host' })
    const state = await readContainerd(place, options)
    containerd.update(state)
    await containerdImages.update(state.images)
  }
  const {
    images,
    local: imagesHere,
    containerd: containerdImages
  } = createImages({
    config,
    registry,
    store,
    foreign: containerd,
    look,
    content,
    index,
    find,
    clock,
    log
  })
  const running = parts.move()
  return {
    images,
    local: imagesHere,
    lookIntoContainerd: async ({ signal, onHashing } = {}) => {
      const place = await find()
      if (place === undefined) return
      try {
        const state = await readContainerd(place, signal === undefined ? {} : { signal })
        containerd.update(state)
        const proven = new AbortController()
        clock.sleep(MOMENT_MS, { signal: proven.signal }).then(
          () => onHashing?.(containerd.usage().unproven.bytes),
          () => undefined
        )
        await containerd.proven(signal).finally(() => proven.abort())
        await containerdImages.update(state.images)
      } catch (error) {
        signal?.throwIfAborted()
        log.debug({ socket: place.socket, error: describeError(error) }, 'containerd cannot be asked')
      }
    },
    [Symbol.asyncDispose]: () => running.disposeAsync()
  }
}
