import { cpSync, globSync, mkdirSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { type CommandOptions, type CommandResult, command, tryCommand } from './command.ts'
import { HostClient } from './host-client.ts'
import { type ProcessOptions, RunningProcess } from './process.ts'
import { pidsInNamespace, removeLeftovers, temporaryFolder, uniqueName } from './workspace.ts'

const SUBNET = '10.77.0'
/** One whole 64 KiB segment as the kernel hands it over, so that shaping does not have to cut it up. */
const BURST = '128kb'
/** The queue of a shaped port: half of what a cheap switch has, a few round trips at these rates. */
const QUEUE = '50ms'

/**
 * What connections go by when they share a link. Some machines use BBR, a dozen of which overrun a short queue for good
 * and starve whoever answers through it; this one a namespace may always choose, and it is near to what Linux does by default.
 */
const CONGESTION_CONTROL = 'reno'

/** Names a folder that the logs of all hosts are kept in, for whoever looks for the reason of a failure. */
const LOGS_DIR = 'KEEP_TEST_LOGS'

export interface NetworkOptions {
  /** The hosts beside the registry's. */
  readonly hosts: number
  /** The rate of every link in both directions, as `tc` writes it (`80mbit`); unshaped if absent. */
  readonly rate?: string
  /** Names that every host resolves by its hosts file, each to the registry's host. */
  readonly registryNames?: readonly string[]
}

/**
 * Hosts behind a switch: each is a network namespace with its own address (10.77.0.x), joined by a bridge in a
 * namespace of its own. Nothing touches the machine's own network. Needs root.
 */
export class Network implements AsyncDisposable {
  readonly dir: string
  readonly hosts: readonly Host[]
  /** The host that the registry runs on, reached over a link of its own. */
  readonly registry: Host
  readonly #switch: string
  readonly #stack: AsyncDisposableStack

  private constructor(dir: string, hosts: readonly Host[], registry: Host, switchName: string, stack: AsyncDisposableStack) {
    this.dir = dir
    this.hosts = hosts
    this.registry = registry
    this.#switch = switchName
    this.#stack = stack
  }

  static async create(options: NetworkOptions): Promise<Network> {
    removeLeftovers()
    await using stack = new AsyncDisposableStack()
    const folder = stack.use(temporaryFolder())
    const switchName = await addNamespace(uniqueName(), stack)
    await inNamespace(switchName, 'ip link add br0 type bridge && ip link set br0 up')
    const registryAddress = `${SUBNET}.254`
    const binds = hostsFile(folder.path, registryAddress, options.registryNames ?? [])
    const addHost = async (name: string, address: string, port: number): Promise<Host> => {
      const namespace = await addNamespace(uniqueName(), stack)
      await connect(namespace, switchName, { address, port, ...(options.rate === undefined ? {} : { rate: options.rate }) })
      const dir = join(folder.path, name)
      mkdirSync(dir)
      return stack.use(new Host(name, address, namespace, dir, binds))
    }
    const hosts: Host[] = []
    for (let index = 1; index <= options.hosts; index += 1) hosts.push(await addHost(`h${index}`, `${SUBNET}.${index}`, index))
    const registry = await addHost('r', registryAddress, 254)
    // Segments leave as on a wire: else one header is counted for up to 64 KiB, and for less the more hosts share the link.
    await inNamespace(registry.namespace, 'ip link set eth0 gso_max_segs 1')
    return new Network(folder.path, hosts, registry, switchName, stack.move())
  }

  /** Unplugs a host from the switch, or plugs it in again. */
  async plug(host: Host, connected: boolean): Promise<void> {
    await command('ip', ['-n', this.#switch, 'link', 'set', `p${host.address.split('.').at(-1)}`, connected ? 'up' : 'down'])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (process.env[LOGS_DIR] !== undefined) this.#keepLogs(process.env[LOGS_DIR])
    await this.#stack.disposeAsync()
  }

  #keepLogs(dir: string): void {
    for (const file of globSync('*/*.log', { cwd: this.dir })) cpSync(join(this.dir, file), join(dir, basename(this.dir), file))
  }
}

/** One host of a network: programs run in its network namespace, their files lie under its folder. */
export class Host implements AsyncDisposable {
  readonly name: string
  readonly address: string
  /** A folder for what runs on this host. */
  readonly dir: string
  /** The name of its network namespace. */
  readonly namespace: string
  readonly #binds: readonly Bind[]
  readonly #processes = new Set<RunningProcess>()
  #client: HostClient | undefined

  constructor(name: string, address: string, namespace: string, dir: string, binds: readonly Bind[]) {
    this.name = name
    this.address = address
    this.dir = dir
    this.namespace = namespace
    // Where podman and dockerd keep things whatever else they are told.
    const own = [
      { from: join(dir, 'containers'), to: '/var/lib/containers' },
      { from: join(dir, 'etc-docker'), to: '/etc/docker' }
    ]
    for (const { from } of own) mkdirSync(from)
    this.#binds = [...binds, ...own]
  }

  /** A client for HTTP and raw TCP whose connections start on this host. */
  get client(): HostClient {
    this.#client ??= new HostClient(this.#enter(process.execPath))
    return this.#client
  }

  /** Starts a program on this host; its output goes to `<dir>/<name>.log`. It is stopped with the host. */
  start(name: string, program: string, args: readonly string[], options: Partial<ProcessOptions> & WithBinds = {}): RunningProcess {
    const [enter = '', ...enterArgs] = this.#enter(program, options.binds)
    const started = new RunningProcess(enter, [...enterArgs, ...args], { log: join(this.dir, `${name}.log`), ...options })
    this.#processes.add(started)
    return started
  }

  /** Runs a program on this host that must succeed; returns what it printed. */
  async run(program: string, args: readonly string[], options: CommandOptions & WithBinds = {}): Promise<string> {
    const result = await this.tryRun(program, args, options)
    if (result.code === 0) return result.stdout
    throw new Error(`${this.name}: ${program} ${args.join(' ')} ended with ${result.code}:\n${result.stdout}\n${result.stderr}`)
  }

  /** Runs a program on this host that may fail. */
  tryRun(program: string, args: readonly string[], options: CommandOptions & WithBinds = {}): Promise<CommandResult> {
    const [enter = '', ...enterArgs] = this.#enter(program, options.binds)
    return tryCommand(enter, [...enterArgs, ...args], options)
  }

  /** Bytes that this host has sent over its link since it was plugged in, headers included. */
  async sentBytes(): Promise<number> {
    const [link] = JSON.parse(await command('ip', ['-n', this.namespace, '-s', '-j', 'link', 'show', 'eth0']))
    return link.stats64.tx.bytes
  }

  /** The processes that run on this host now, the harness's own client left out. */
  pids(): number[] {
    return pidsInNamespace(this.namespace).filter((pid) => pid !== this.#client?.pid)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client?.close()
    await Promise.all([...this.#processes].reverse().map((started) => started.stop()))
    for (const pid of pidsInNamespace(this.namespace)) killQuietly(pid)
  }

  /**
   * The command line that runs a program here without forking, so that its pid is the one we started. A mount
   * namespace of its own keeps its mounts and the bound files from the machine, and they go with it.
   */
  #enter(program: string, more: readonly Bind[] = []): string[] {
    const binds = [...this.#binds, ...more]
      .map(({ from, to }) => `mkdir -p ${to} 2>/dev/null; [ -e ${to} ] && mount --bind ${from} ${to};`)
      .join(' ')
    const script = `${binds} exec "$@"`
    return [
      'nsenter',
      `--net=/run/netns/${this.namespace}`,
      'unshare',
      '--mount',
      '--propagation',
      'slave',
      'sh',
      '-c',
      script,
      'sh',
      program
    ]
  }
}

/** A file or folder, `from` to be found at `to` by what runs with it. */
export interface Bind {
  readonly from: string
  readonly to: string
}

interface WithBinds {
  /** What this program finds beside what every program of the host does. */
  readonly binds?: readonly Bind[]
}

function hostsFile(dir: string, address: string, names: readonly string[]): Bind[] {
  if (names.length === 0) return []
  const file = join(dir, 'hosts')
  writeFileSync(file, `127.0.0.1 localhost\n${names.map((name) => `${address} ${name}\n`).join('')}`)
  return [{ from: file, to: '/etc/hosts' }]
}

async function addNamespace(name: string, stack: AsyncDisposableStack): Promise<string> {
  await command('ip', ['netns', 'add', name])
  stack.defer(async () => {
    await command('ip', ['netns', 'del', name])
  })
  // The kernel's neighbour discovery for IPv6 would add bytes of its own to the links that are counted.
  const settings = [
    'net.ipv6.conf.all.disable_ipv6=1',
    'net.ipv6.conf.default.disable_ipv6=1',
    `net.ipv4.tcp_congestion_control=${CONGESTION_CONTROL}`
  ]
  await inNamespace(name, `sysctl -qw ${settings.join(' ')} && ip link set lo up`)
  return name
}

async function connect(namespace: string, switchName: string, link: { address: string; port: number; rate?: string }): Promise<void> {
  const port = `p${link.port}`
  await command('ip', ['link', 'add', 'eth0', 'netns', namespace, 'type', 'veth', 'peer', 'name', port, 'netns', switchName])
  const shape = (device: string) =>
    link.rate === undefined ? 'true' : `tc qdisc add dev ${device} root tbf rate ${link.rate} burst ${BURST} latency ${QUEUE}`
  await inNamespace(namespace, `ip addr add ${link.address}/24 dev eth0 && ip link set eth0 up && ${shape('eth0')}`)
  await inNamespace(switchName, `ip link set ${port} master br0 && ip link set ${port} up && ${shape(port)}`)
}

async function inNamespace(name: string, script: string): Promise<void> {
  await command('nsenter', [`--net=/run/netns/${name}`, 'sh', '-c', script])
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It ended by itself.
  }
}
