import { join } from 'node:path'
import type { Bind } from './network.ts'

/** Where scripts/install-new-clients.sh puts them, unless told otherwise. */
const NEW_CLIENTS = process.env.NEW_CLIENTS ?? '/var/cache/layerswarm-new-clients'
/** The packages that it unpacked there, a line each; it exists once all of them are. */
export const NEW_CLIENTS_LIST = join(NEW_CLIENTS, 'packages')

/** Versions of containerd's configuration file. */
export type ConfigVersion = 1 | 2 | 3

/** containerd, docker, podman and skopeo as one release of Debian has them, and what the tests have to know of them. */
export interface Clients {
  readonly name: string
  /** What their programs find on a host. */
  readonly binds: readonly Bind[]
  /** The major versions that they have at least. */
  readonly majors: Readonly<Record<'containerd' | 'dockerd' | 'podman' | 'skopeo', number>>
  /** The versions of its configuration file that their containerd reads, its own first. */
  readonly containerdConfigs: readonly [ConfigVersion, ...ConfigVersion[]]
  /** The flags that have `ctr images pull` take each of the ways that it knows. */
  readonly ctrWays: readonly (readonly string[])[]
  /** Where their docker can keep images: as it always has, or in a containerd of its own. */
  readonly dockerStores: readonly ('classic' | 'containerd')[]
  readonly dockerUnpacksZstd: boolean
  /** Whether their skopeo notes in an index which of its manifests have zstd, which changes the index. */
  readonly skopeoMarksZstd: boolean
}

/** What the machine has installed. */
export const INSTALLED: Clients = {
  name: 'the installed',
  binds: [],
  majors: { containerd: 1, dockerd: 20, podman: 4, skopeo: 1 },
  containerdConfigs: [2],
  ctrWays: [[]],
  dockerStores: ['classic'],
  dockerUnpacksZstd: false,
  skopeoMarksZstd: false
}

/** The newest that Debian has, with their libraries, over the programs and libraries of the machine. */
export const NEWEST: Clients = {
  name: 'the newest',
  binds: [{ from: join(NEW_CLIENTS, 'usr'), to: '/usr' }],
  majors: { containerd: 2, dockerd: 28, podman: 5, skopeo: 1 },
  containerdConfigs: [3, 2, 1],
  // By containerd's transfer service, and by itself.
  ctrWays: [[], ['--local']],
  dockerStores: ['classic', 'containerd'],
  dockerUnpacksZstd: true,
  skopeoMarksZstd: true
}
