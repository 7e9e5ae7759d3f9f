/**
 * The agent's composition root: reads top to bottom, and stops in reverse. Only this file knows which part is which.
 */
import { type Clock, systemClock } from '@layerswarm/core/clock.ts'
import { formatHostPort } from '@layerswarm/core/config/addresses.ts'
import type { Logger } from '@layerswarm/core/log.ts'
import { readClusterKey } from '@layerswarm/core/p2p/cluster-key.ts'
import { loadIdentity } from '@layerswarm/core/p2p/identity.ts'
import { createNode, type P2pNode } from '@layerswarm/core/p2p/node.ts'
import { VERSION } from '@layerswarm/core/version.ts'
import { reachableAt } from './addresses.ts'
import { Admin } from './admin/admin.ts'
import type { AgentConfig } from './config.ts'
import { ContainerdContent } from './containerd/containerd-content.ts'
import { findContainerd } from './containerd/locate.ts'
import { Announcer } from './directory/announcer.ts'
import { KnownPeers } from './directory/known-peers.ts'
import { OfflineDirectory } from './directory/offline-directory.ts'
import { TrackerDirectory } from './directory/tracker-directory.ts'
import { TrackerPins } from './directory/tracker-pins.ts'
import { shareForeign } from './foreign.ts'
import { Pushed } from './images/pushed.ts'
import { createImages } from './make-images.ts'
import { createSwarm } from './make-swarm.ts'
import { Mirror } from './mirror/mirror.ts'
import { Libp2pPeerNetwork } from './peers/network.ts'
import type { DirectoryNote } from './ports.ts'
import { Seeder } from './seeds/seeder.ts'
import { agentStatus } from './status.ts'
import { openStorage, scraped } from './storage.ts'
import { Ingested } from './store/ingested.ts'
import { JoinedStore } from './store/joined-store.ts'
import { SwarmContentService } from './swarm/content-service.ts'
import { OriginAccess } from './swarm/origin-access.ts'
import { nextUpload } from './swarm/policy.ts'
import type { Swarm } from './swarm/swarm.ts'

export interface RunningAgent extends AsyncDisposable {
  /** Its peer id. */
  readonly id: string
  readonly mirrorUrl: string
  readonly adminUrl: string
  /** Where peers reach it, as multiaddrs. */
  readonly p2p: readonly string[]
}

interface AgentDeps {
  readonly log: Logger
  readonly clock?: Clock
}

/**
 * Starts an agent.
 * @throws {LayerswarmError} CLUSTER_KEY_INVALID, IDENTITY_INVALID, LISTEN_FAILED, STORE_BUSY, STORE_FAILED, STORE_FULL
 */
export async function startAgent(config: AgentConfig, { log, clock = systemClock }: AgentDeps): Promise<RunningAgent> {
  await using parts = new AsyncDisposableStack()
  const startedAt = clock.now()
  const local = parts.use(await openStorage(config, log))
  const { registry, metrics } = local
  // What containerd holds counts as held here, too, wherever content is read.
  const containerd = local.store.foreign({ clock, log })
  const find = (): ReturnType<typeof findContainerd> => findContainerd({ address: config.containerdAddress, root: config.containerdRoot })
  const store = parts.use(new JoinedStore(local.store, containerd))
  const identity = await loadIdentity(config.dataDir)
  const cluster = config.clusterKey === undefined ? undefined : await readClusterKey(config.clusterKey)
  if (cluster?.warning !== undefined) log.warn(cluster.warning)

  // The swarm is made last: it drives the peers and the directory, which ask it what it knows and what is under way.
  const late: { swarm?: Swarm } = {}
  const node = parts.use(
    await createNode({ identity, version: VERSION, listen: config.p2pListen, ...(cluster && { clusterKey: cluster.key }) }, { log })
  )
  const peers = parts.use(
    await Libp2pPeerNetwork.start({
      node,
      store,
      uploadPolicy: nextUpload,
      peerHas: (peer, blob, piece) => late.swarm?.peerHas(peer, blob, piece) ?? false,
      isCommon: (blob, piece) => late.swarm?.isCommon(blob, piece) ?? false,
      limits: local.limits,
      clock,
      log,
      metrics: {
        sent: (bytes) => metrics.bytes.inc({ direction: 'out', source: 'peer' }, bytes),
        connected: (count) => metrics.peers.set({ state: 'connected' }, count)
      }
    })
  )
  const knownPeers = parts.use(await KnownPeers.open(config.dataDir, { clock, log }))
  const announcer = parts.use(new Announcer({ store, index: local.store.content, log }))
  const directory = await openDirectory(config, parts, {
    node,
    clock,
    log,
    knownPeers,
    snapshot: () => announcer.snapshot(),
    partials: () => late.swarm?.partials() ?? []
  })
  announcer.start(directory)

  const swarm = parts.use(createSwarm({ local, store, identity, peers, directory, clock, log }))
  late.swarm = swarm
  const access = new OriginAccess({ registry, clock })
  const content = parts.use(
    new SwarmContentService({
      store,
      swarm,
      directory,
      registry,
      access,
      knownPeers: () => knownPeers.all(),
      linkRate: local.limits.lowest,
      clock,
      log
    })
  )
  const index = announcer.watched()
  const containerdContent = new ContainerdContent({ find, clock, log })
  const {
    images,
    local: imagesHere,
    containerd: containerdImages
  } = createImages({
    config,
    registry,
    store,
    foreign: containerd,
    look: (options) => containerdContent.look(options),
    content,
    index,
    find,
    clock,
    log
  })
  const ingested = config.keep === 'until-ingested' ? new Ingested({ store: local.store, foreign: containerd, clock, log }) : undefined
  parts.use(shareForeign({ content: containerdContent, store: containerd, images: containerdImages, ingested, log }))

  parts.use(new Seeder({ directory, images, clock, log })).start()

  const pushed = new Pushed({ store, index, images, log })
  const push = config.allowPush ? { uploads: registry.uploads, intake: local.store, pushed } : undefined
  const mirror = parts.use(new Mirror({ images, registry, push, clock, log, metrics }))
  const mirrorAt = await mirror.listen(config.mirrorListen)
  const admin = parts.use(
    new Admin({
      images,
      local: imagesHere,
      store,
      metrics: scraped(local, containerd),
      readiness: () => ({ mirror: mirror.address !== undefined, store: true, tracker: { connected: directory.connected } }),
      status: () =>
        agentStatus({
          id: node.id,
          name: config.name,
          trackers: config.tracker.length,
          startedAt,
          clock,
          store: local.store,
          limits: local.limits.rates,
          containerd: { usage: () => containerd.usage(), problem: containerdContent.problem },
          peers,
          directory,
          swarm
        }),
      clock,
      log
    })
  )
  const adminAt = await admin.listen(config.adminListen)
  if (directory instanceof TrackerDirectory) directory.start()
  const running = parts.move()
  const at = { mirrorUrl: `http://${formatHostPort(mirrorAt)}`, adminUrl: `http://${formatHostPort(adminAt)}` }
  log.info({ id: node.id, mirror: at.mirrorUrl, admin: at.adminUrl, p2p: node.addresses }, 'agent ready')
  return { id: node.id, ...at, p2p: node.addresses, [Symbol.asyncDispose]: () => running.disposeAsync() }
}

interface DirectoryDeps {
  readonly node: P2pNode
  readonly clock: Clock
  readonly log: Logger
  readonly knownPeers: KnownPeers
  readonly snapshot: Announcer['snapshot']
  readonly partials: () => readonly DirectoryNote[]
}

async function openDirectory(
  config: AgentConfig,
  stack: AsyncDisposableStack,
  deps: DirectoryDeps
): Promise<OfflineDirectory | TrackerDirectory> {
  if (config.tracker.length === 0) return new OfflineDirectory()
  const pins = await TrackerPins.open(config.dataDir, deps.log)
  const listen = { host: config.p2pListen.host, port: deps.node.port ?? config.p2pListen.port }
  const { name, zone } = config
  const directory = new TrackerDirectory(
    { ...deps, pins, random: Math.random },
    { trackers: config.tracker, self: { name, zone, version: VERSION, seeds: true, ...reachableAt(listen, config.announce) } }
  )
  return stack.use(directory)
}
