import { glob, readdir, readFile, stat } from 'node:fs/promises'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import { withoutBlocks } from './blocks.ts'
import {
  brokenConfig,
  type ContainerdMajor,
  isPathList,
  type RegistrySettings,
  registrySettings,
  withConfigPath
} from './containerd-config.ts'
import { containerdMajor } from './containerd-major.ts'
import { generatedProblem, OWN_CONTAINERD, ownContainerdProblem } from './generators.ts'
import { certificatesAmong, withMirror } from './hosts-file.ts'
import { absent } from './locate.ts'
import { daemonsNamed, flagOf } from './processes.ts'
import type { Activation, MirrorSettings, Plan, Problem, ReadBase, Runtime, WantedFile } from './setup.ts'
import { at, readToml } from './toml-text.ts'

export const CONTAINERD_CONFIG = '/etc/containerd/config.toml'
const DEFAULT_DIR = '_default'
const INSTALL = 'run: layerswarm mirror install --runtime containerd'
const RESTART = 'systemctl restart containerd'
/** Imports may import; more files than this are a loop or no configuration. */
const MAX_IMPORTS = 64

/** What all of containerd's configuration comes to. */
interface Effective extends RegistrySettings {
  /** The file that `config_path` stands in; undefined when no file has it. */
  readonly setIn: string | undefined
}

/** containerd 1.x and 2.x: `hosts.toml` files, read at every pull, in the one folder that `config_path` names. */
export class ContainerdRuntime implements Runtime {
  readonly name = 'containerd'
  readonly recordName = 'containerd'
  readonly configPath: string
  readonly #ownContainerd: readonly string[]

  /** @param options.ownContainerd folders whose existence says that a distribution runs a containerd of its own */
  constructor(options: { readonly configFile?: string | undefined; readonly ownContainerd?: readonly string[] } = {}) {
    this.configPath = options.configFile ?? CONTAINERD_CONFIG
    this.#ownContainerd = options.ownContainerd ?? OWN_CONTAINERD
  }

  async present(): Promise<boolean> {
    return (await stat(this.configPath).catch(absent)) !== undefined || (await this.#daemon()) !== undefined
  }

  async plan(settings: MirrorSettings, base: ReadBase): Promise<Plan> {
    const { mirrorUrl } = settings
    const config = await base(this.configPath, dirname(this.configPath))
    if ('problem' in config) return failed(config)
    const foreign = generatedProblem(this.configPath, config.text, mirrorUrl)
    if (foreign !== undefined) return failed(foreign)
    if (config.text === undefined) {
      const own = await ownContainerdProblem(this.#ownContainerd, mirrorUrl)
      if (own !== undefined) return failed(own)
    }
    const effective = await this.#effective(config.text)
    if ('problem' in effective) return failed(effective)
    const wrong = this.#wrongIn(effective)
    if (wrong !== undefined) return failed(wrong)

    const dir = effective.configPath === '' ? this.#newDir : effective.configPath
    const hosts = await this.#hostFiles(dir, settings, base)
    const configText = effective.configPathForAll ? undefined : withConfigPath(this.configPath, config.text, dir)
    if (typeof configText === 'object') return failed(...hosts.problems, configText)
    const own = configText === undefined ? [] : [{ path: this.configPath, tree: dirname(this.configPath), text: configText }]
    const notes = effective.criDisabled
      ? [`the CRI plugin is switched off in ${this.configPath}: only ctr --hosts-dir ${dir} and nerdctl use the mirror`]
      : []
    // hosts.toml files first: a containerd that starts in between finds them, or has no config_path yet.
    return { files: [...hosts.files, ...own], problems: hosts.problems, notes }
  }

  async candidates(): Promise<readonly { path: string; tree: string }[]> {
    const dir = await this.#currentDir()
    const dirs = (await directories(dir)).map((name) => ({ path: join(dir, name, 'hosts.toml'), tree: dir }))
    return [...dirs, { path: this.configPath, tree: dirname(this.configPath) }]
  }

  strip(_path: string, text: string): string | undefined {
    const rest = withoutBlocks(text)
    return rest !== text && rest.trim() === '' ? undefined : rest
  }

  async parting(): Promise<readonly WantedFile[]> {
    return []
  }

  async activate(changed: readonly string[]): Promise<Activation> {
    const todo = changed.includes(this.configPath)
      ? [{ reason: `containerd reads ${this.configPath} when it starts; containers go on running`, command: RESTART }]
      : []
    return { done: [], todo, problems: [] }
  }

  async traps(mirrorUrl: string): Promise<readonly Problem[]> {
    const effective = await this.#effective(await readFile(this.configPath, 'utf8').catch(absent))
    if ('problem' in effective) return [effective]
    const problems: Problem[] = []
    const wrong = this.#wrongIn(effective)
    if (wrong !== undefined) problems.push(wrong)
    if (effective.configPath === '')
      problems.push({ problem: `config_path is not set in ${this.configPath}: containerd reads no hosts.toml`, remedy: INSTALL })
    const dir = await this.#currentDir()
    for (const name of await directories(dir)) {
      const toml = readToml((await readFile(join(dir, name, 'hosts.toml'), 'utf8').catch(absent)) ?? '')
      const hosts = typeof toml === 'string' ? undefined : at(toml.values, ['host', mirrorUrl])
      if (name !== DEFAULT_DIR && hosts === undefined) {
        problems.push({ problem: `${join(dir, name)} hides ${DEFAULT_DIR} and does not name the mirror ${mirrorUrl}`, remedy: INSTALL })
      }
    }
    const discarding = await this.#discarding(effective)
    if (discarding.length > 0) {
      problems.push({
        problem: `discard_unpacked_layers is on for containerd ${discarding.map((major) => `${major}.x`).join(' and ')}: layers are dropped once they are unpacked, and cannot be shared or pushed`,
        remedy: `set discard_unpacked_layers = false in ${this.configPath}, then ${RESTART}`
      })
    }
    return [...problems, ...(await this.#notRestarted())]
  }

  get #newDir(): string {
    return join(dirname(this.configPath), 'certs.d')
  }

  async #notRestarted(): Promise<readonly Problem[]> {
    const daemon = await this.#daemon()
    const changed = (await stat(this.configPath).catch(absent))?.mtimeMs
    if (daemon === undefined || changed === undefined || changed <= daemon.startedAt) return []
    return [{ problem: `containerd (pid ${daemon.pid}) started before ${this.configPath} was changed`, remedy: `run: ${RESTART}` }]
  }

  /** The containerds that drop layers by this configuration: of those that it may be for, the one that runs. */
  async #discarding({ discardsLayers }: Effective): Promise<readonly ContainerdMajor[]> {
    if (discardsLayers.length === 0) return []
    const daemon = await this.#daemon()
    const running = daemon && (await containerdMajor(`/proc/${daemon.pid}/exe`))
    return ([1, 2] as const).filter((major) => discardsLayers.includes(major) && (running ?? major) === major)
  }

  /** The containerd that reads this configuration. */
  async #daemon() {
    const daemons = await daemonsNamed('containerd')
    return daemons.find(({ args }) => (flagOf(args, '--config', '-c') ?? CONTAINERD_CONFIG) === this.configPath)
  }

  async #currentDir(): Promise<string> {
    const effective = await this.#effective(await readFile(this.configPath, 'utf8').catch(absent))
    const dir = 'problem' in effective ? '' : effective.configPath
    return dir === '' || isPathList(dir) ? this.#newDir : dir
  }

  #wrongIn({ configPath, setIn, conflicts }: Effective): Problem | undefined {
    if (conflicts.length > 0) {
      return {
        problem: `${this.configPath} has ${conflicts.join(' and ')}, with which containerd refuses a config_path`,
        remedy: 'move these settings into hosts.toml files below one folder, name it in config_path, then run this again'
      }
    }
    if (isPathList(configPath)) {
      return {
        problem: `config_path in ${setIn} is a list (${configPath}), which newer versions of containerd take for one folder that does not exist`,
        remedy: `set config_path = "${configPath.split(':')[0]}", move what is in the other folders there, restart containerd, then run this again`
      }
    }
    if (configPath !== '' && !isAbsolute(configPath)) {
      return {
        problem: `config_path in ${setIn} is not an absolute path: ${configPath}`,
        remedy: 'name the folder from / on, then run this again'
      }
    }
    return undefined
  }

  /** The main file, then what it imports on top of that, in order. */
  async #effective(text: string | undefined): Promise<Effective | Problem> {
    let effective: Effective = { ...registrySettings({}), setIn: undefined }
    const queue = [this.configPath]
    const seen = new Set<string>()
    for (let path = queue.shift(); path !== undefined && seen.size < MAX_IMPORTS; path = queue.shift()) {
      if (seen.has(path)) continue
      seen.add(path)
      const content = path === this.configPath ? text : await readFile(path, 'utf8').catch(absent)
      const toml = readToml(content ?? '')
      if (typeof toml === 'string') return brokenConfig(path, toml)
      const own = registrySettings(toml.values)
      effective = {
        configPath: own.configPath || effective.configPath,
        configPathForAll: effective.configPathForAll || own.configPathForAll,
        setIn: own.configPath === '' ? effective.setIn : path,
        conflicts: [...effective.conflicts, ...own.conflicts],
        imports: [],
        criDisabled: effective.criDisabled || own.criDisabled,
        discardsLayers: [...effective.discardsLayers, ...own.discardsLayers]
      }
      for (const pattern of own.imports) for await (const file of glob(resolve(dirname(path), pattern))) queue.push(file)
    }
    return effective
  }

  async #hostFiles(dir: string, settings: MirrorSettings, base: ReadBase): Promise<Pick<Plan, 'files' | 'problems'>> {
    const names = await this.#hostDirs(dir, settings, base)
    if (!Array.isArray(names)) return { files: [], problems: [names] }
    const files: WantedFile[] = []
    const problems: Problem[] = []
    for (const name of names) {
      const path = join(dir, name, 'hosts.toml')
      const file = await base(path, dir)
      if ('problem' in file) {
        problems.push(file)
        continue
      }
      const certificates = certificatesAmong((await readdir(join(dir, name)).catch(absent)) ?? [])
      const after = generatedProblem(path, file.text, settings.mirrorUrl) ?? withMirror(path, file.text, settings.mirrorUrl, certificates)
      if (typeof after === 'string') files.push({ path, tree: dir, text: after })
      else if (after !== undefined) problems.push(after)
    }
    return { files, problems }
  }

  /** The first existing folder of a registry hides `_default`, so every one has to name the mirror. */
  async #hostDirs(dir: string, { registries, onlyRegistries }: MirrorSettings, base: ReadBase): Promise<string[] | Problem> {
    const existing = await directories(dir)
    if (!onlyRegistries) return [DEFAULT_DIR, ...existing.filter((name) => name !== DEFAULT_DIR)]
    const wanted = registries.map((host) => existing.find((name) => name === host.replace(/:(\d+)$/, '_$1_')) ?? host)
    const fallback = await base(join(dir, DEFAULT_DIR, 'hosts.toml'), dir)
    const hiding = wanted.find((name) => !existing.includes(name))
    if (hiding === undefined || 'problem' in fallback || fallback.text === undefined) return wanted
    return {
      problem: `a folder for ${hiding} would hide ${join(dir, DEFAULT_DIR)}, which is in use`,
      remedy: 'run this without --registry, so that the mirror is named there too'
    }
  }
}

function failed(...problems: readonly Problem[]): Plan {
  return { files: [], problems, notes: [] }
}

/** The folders in a folder, links to folders included; none where it does not exist. */
export async function directories(dir: string): Promise<string[]> {
  const names = ((await readdir(dir).catch(absent)) ?? []).toSorted()
  const stats = await Promise.all(names.map((name) => stat(join(dir, name)).catch(absent)))
  return names.filter((_, index) => stats[index]?.isDirectory())
}
