import { readdir, readFile, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { withoutBlocks } from './blocks.ts'
import { isAt, readDaemonJson, withEmptyMirrors, withoutRegistryMirror, withRegistryMirror } from './daemon-json.ts'
import { type DockerInfo, dockerInfo } from './docker-info.ts'
import { certificatesAmong, withMirror } from './hosts-file.ts'
import { isInsecureRegistry } from './insecure-registries.ts'
import { absent } from './locate.ts'
import { type Daemon, daemonAt, daemonsNamed, flagOf } from './processes.ts'
import type { Activation, MirrorSettings, Plan, Problem, ReadBase, Runtime, WantedFile } from './setup.ts'

export const DOCKER_CONFIG = '/etc/docker/daemon.json'
/** dockerd looks here whatever its configuration file is. */
const CERTS_DIR = '/etc/docker/certs.d'
/** The one registry that `registry-mirrors` are for. */
const HUB = 'docker.io'
/** A registry at a port where both HTTP and HTTPS may be. */
const OTHER_PORT = /:(?!80$|443$)\d+$/
const DEFAULT_SOCKET = '/var/run/docker.sock'
const RELOAD = 'systemctl reload docker'
const RESTART = 'systemctl restart docker'
/** A reload takes milliseconds; dockerd tells nobody when it is done. */
const RELOAD_MS = 5_000
const ASK_EVERY_MS = 100

/** dockerd: a list of mirrors for docker.io, and with its containerd image store hosts.toml files for every registry. */
export class DockerRuntime implements Runtime {
  readonly name = 'docker'
  readonly recordName = 'docker'
  readonly configPath: string
  readonly #certsDir: string
  readonly #reloadMs: number

  /** @param options.reloadMs how long a running dockerd may take to follow its file */
  constructor(options: { readonly configFile?: string | undefined; readonly certsDir?: string; readonly reloadMs?: number } = {}) {
    this.configPath = options.configFile ?? DOCKER_CONFIG
    this.#certsDir = options.certsDir ?? CERTS_DIR
    this.#reloadMs = options.reloadMs ?? RELOAD_MS
  }

  async present(): Promise<boolean> {
    return (await stat(this.configPath).catch(absent)) !== undefined || (await this.#daemon()) !== undefined
  }

  async plan(settings: MirrorSettings, base: ReadBase): Promise<Plan> {
    const { mirrorUrl } = settings
    const config = await base(this.configPath, dirname(this.configPath))
    if ('problem' in config) return failed(config)
    const text = withRegistryMirror(this.configPath, config.text, mirrorUrl)
    if (typeof text === 'object') return failed(text)
    const daemon = await this.#daemon()
    if (daemon !== undefined && flagOf(daemon.args, '--registry-mirror') !== undefined) return failed(flagProblem(daemon))

    const own = text === undefined ? [] : [{ path: this.configPath, tree: dirname(this.configPath), text }]
    if (!(await this.#usesContainerdStore(config.text))) {
      return {
        files: own,
        problems: [],
        notes: ['docker asks the mirror for images of docker.io only; its containerd image store would for all']
      }
    }
    const hosts = await this.#hostFiles(settings, base, this.#insecure(config.text, daemon))
    return { ...hosts, files: [...hosts.files, ...own] }
  }

  async candidates(): Promise<readonly { path: string; tree: string }[]> {
    const names = (await readdir(this.#certsDir).catch(absent)) ?? []
    const hosts = names.map((name) => ({ path: join(this.#certsDir, name, 'hosts.toml'), tree: this.#certsDir }))
    return [...hosts, { path: this.configPath, tree: dirname(this.configPath) }]
  }

  strip(path: string, text: string, urls: readonly string[]): string | undefined {
    if (!path.endsWith('/hosts.toml')) return withoutRegistryMirror(text, urls)
    const rest = withoutBlocks(text)
    return rest !== text && rest.trim() === '' ? undefined : rest
  }

  /** dockerd keeps its mirrors when its file no longer has the key; an empty list it takes. */
  async parting(base: ReadBase): Promise<readonly WantedFile[]> {
    const config = await base(this.configPath, dirname(this.configPath))
    if ('problem' in config || (await this.#daemon()) === undefined) return []
    const text = withEmptyMirrors(config.text)
    return text === undefined ? [] : [{ path: this.configPath, tree: dirname(this.configPath), text }]
  }

  async activate(changed: readonly string[], mirrorUrl: string | undefined, former: readonly string[]): Promise<Activation> {
    if (!changed.includes(this.configPath)) return nothing
    const daemon = await this.#daemon()
    if (daemon === undefined)
      return { ...nothing, todo: [{ reason: 'no dockerd that reads this file was found; if one runs', command: RELOAD }] }
    try {
      process.kill(daemon.pid, 'SIGHUP')
    } catch {
      return { ...nothing, todo: [{ reason: `dockerd (pid ${daemon.pid}) has to read its configuration again`, command: RELOAD }] }
    }
    const gone = former.filter((url) => url !== mirrorUrl)
    const follows = ({ mirrors }: DockerInfo) =>
      (mirrorUrl === undefined || mirrors.some((mirror) => isAt(mirror, mirrorUrl))) &&
      !mirrors.some((mirror) => gone.some((url) => isAt(mirror, url)))
    const info = await this.#await(daemon, follows)
    if (info === undefined)
      return { ...nothing, todo: [{ reason: 'dockerd was told to reload; whether it did is to be seen with', command: 'docker info' }] }
    if (follows(info)) return { ...nothing, done: [`dockerd (pid ${daemon.pid}) has reloaded its configuration`] }
    if (mirrorUrl === undefined) {
      return {
        ...nothing,
        todo: [{ reason: 'dockerd still asks the mirror first, until it is restarted', command: RESTART }]
      }
    }
    return {
      ...nothing,
      problems: [{ problem: `dockerd (pid ${daemon.pid}) did not take ${mirrorUrl}`, remedy: 'see why in its log: journalctl -u docker' }]
    }
  }

  async traps(mirrorUrl: string): Promise<readonly Problem[]> {
    const daemon = await this.#daemon()
    if (daemon === undefined) return []
    if (flagOf(daemon.args, '--registry-mirror') !== undefined) return [flagProblem(daemon)]
    const info = await dockerInfo(await this.#socket(daemon))
    if (info === undefined || info.mirrors.some((mirror) => isAt(mirror, mirrorUrl))) return []
    return [{ problem: `dockerd (pid ${daemon.pid}) does not use the mirror ${mirrorUrl}`, remedy: `run: ${RELOAD}` }]
  }

  /** With a hosts.toml of two hosts or more dockerd heeds neither mirrors nor insecure registries that it has been told. */
  async #hostFiles({ registries, mirrorUrl }: MirrorSettings, base: ReadBase, insecure: readonly string[]): Promise<Plan> {
    const files: WantedFile[] = []
    const problems: Problem[] = []
    const notes: string[] = []
    for (const registry of registries) {
      const path = join(this.#certsDir, registry, 'hosts.toml')
      const file = await base(path, this.#certsDir)
      if ('problem' in file) {
        problems.push(file)
        continue
      }
      // It has daemon.json, whose other mirrors stay in use so.
      if (registry === HUB && file.text === undefined) continue
      const isInsecure = await isInsecureRegistry(registry, insecure)
      if (isInsecure && (file.text !== undefined || !OTHER_PORT.test(registry))) {
        notes.push(`docker does not ask the mirror for images of ${registry}: it would not take it for an insecure registry any more`)
        continue
      }
      const names = (await readdir(dirname(path)).catch(absent)) ?? []
      const text = withMirror(path, file.text, mirrorUrl, certificatesAmong(names), isInsecure ? registry : undefined)
      if (typeof text === 'string') files.push({ path, tree: this.#certsDir, text })
      else if (text !== undefined) problems.push(text)
    }
    return { files, problems, notes }
  }

  #insecure(text: string | undefined, daemon: Daemon | undefined): readonly string[] {
    const settings = readDaemonJson(text)
    const inFile = typeof settings === 'string' ? undefined : settings['insecure-registries']
    const flag = daemon && flagOf(daemon.args, '--insecure-registry')
    return [...(Array.isArray(inFile) ? inFile.map(String) : []), ...(flag?.split(',') ?? [])]
  }

  async #usesContainerdStore(text: string | undefined): Promise<boolean> {
    const settings = readDaemonJson(text)
    const features = typeof settings === 'string' ? undefined : (settings.features as Readonly<Record<string, unknown>> | undefined)
    if (typeof features?.['containerd-snapshotter'] === 'boolean') return features['containerd-snapshotter']
    const daemon = await this.#daemon()
    return daemon !== undefined && ((await dockerInfo(await this.#socket(daemon)))?.containerdStore ?? false)
  }

  /** Asks until dockerd follows, or for as long as a reload may take. @returns what it said last */
  async #await(daemon: Daemon, follows: (info: DockerInfo) => boolean): Promise<DockerInfo | undefined> {
    const socket = await this.#socket(daemon)
    const deadline = performance.now() + this.#reloadMs
    for (;;) {
      const info = await dockerInfo(socket)
      if (info === undefined || follows(info) || performance.now() > deadline) return info
      await sleep(ASK_EVERY_MS)
    }
  }

  /** The dockerd that reads this configuration. */
  async #daemon(): Promise<Daemon | undefined> {
    const settings = readDaemonJson(await readFile(this.configPath, 'utf8').catch(absent))
    const pidFile = typeof settings !== 'string' && typeof settings.pidfile === 'string' ? settings.pidfile : '/var/run/docker.pid'
    const pid = Number(await readFile(pidFile, 'utf8').catch(() => Number.NaN))
    const named = Number.isInteger(pid) ? await daemonAt(pid, 'dockerd') : undefined
    const isOurs = ({ args }: Daemon) => (flagOf(args, '--config-file') ?? DOCKER_CONFIG) === this.configPath
    return [named, ...(await daemonsNamed('dockerd'))].find((daemon) => daemon !== undefined && isOurs(daemon))
  }

  async #socket({ args }: Daemon): Promise<string> {
    const settings = readDaemonJson(await readFile(this.configPath, 'utf8').catch(absent))
    const hosts = typeof settings !== 'string' && Array.isArray(settings.hosts) ? settings.hosts.map(String) : []
    const address = [...hosts, flagOf(args, '--host', '-H') ?? ''].find((host) => host.startsWith('unix://'))
    return address?.slice('unix://'.length) ?? DEFAULT_SOCKET
  }
}

const nothing: Activation = { done: [], todo: [], problems: [] }

function failed(problem: Problem): Plan {
  return { files: [], problems: [problem], notes: [] }
}

/** dockerd does not start when a flag and the file both name mirrors. */
function flagProblem({ pid }: Daemon): Problem {
  return {
    problem: `dockerd (pid ${pid}) has --registry-mirror among its flags, and would not start with registry-mirrors in its file too`,
    remedy: `move the flag's value into ${DOCKER_CONFIG}, ${RESTART}, then run this again`
  }
}
