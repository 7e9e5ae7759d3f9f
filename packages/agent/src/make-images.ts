import type { Clock } from '@layerswarm/core/clock.ts'
import type { Logger } from '@layerswarm/core/log.ts'
import type { AgentConfig } from './config.ts'
import { ContainerdImages } from './containerd/containerd-images.ts'
import type { findContainerd } from './containerd/locate.ts'
import { ForeignImages } from './images/foreign-images.ts'
import { Images } from './images/image-service.ts'
import { LocalImages } from './images/local-images.ts'
import type { ContentIndex, ContentService, ForeignSource } from './ports.ts'
import type { Storage } from './storage.ts'
import type { ForeignStore } from './store/foreign-store.ts'
import type { JoinedStore } from './store/joined-store.ts'

interface ImageParts {
  readonly config: Pick<AgentConfig, 'staleTags'>
  readonly registry: Storage['registry']
  readonly store: JoinedStore
  /** What containerd holds. */
  readonly foreign: Pick<ForeignStore, 'prove'>
  /** See {@link ForeignSource.look}. */
  readonly look: ForeignSource['look']
  readonly content: ContentService
  readonly index: ContentIndex
  /** Where containerd is now, if there is one. */
  readonly find: () => ReturnType<typeof findContainerd>
  readonly clock: Clock
  readonly log: Logger
}

interface MadeImages {
  /** By name, from wherever they can be had. */
  readonly images: Images
  /** What is done with those that this host has. */
  readonly local: LocalImages
  /** Those that containerd names. */
  readonly containerd: ForeignImages
}

/** The images of a host, with or without a daemon. */
export function createImages({ config, registry, store, foreign, look, content, index, find, clock, log }: ImageParts): MadeImages {
  const runtime = new ContainerdImages({ find, clock })
  const images = new Images({ registry, index, content, runtime, clock, log }, { staleTags: config.staleTags })
  const containerd = new ForeignImages({ store, index, log })
  const { uploads } = registry
  const source: ForeignSource = {
    look,
    root: (image) => containerd.root(image),
    prove: (digest, options) => foreign.prove(digest, options)
  }
  const local = new LocalImages({ store, index: containerd.named(), containerd: source, images, uploads, registry, clock, log })
  return { images, local, containerd }
}
