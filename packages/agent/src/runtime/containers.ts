import { readdir, readFile, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { withoutBlocks } from './blocks.ts'
import { absent } from './locate.ts'
import { daemonsNamed } from './processes.ts'
import { type ConfFile, mirrorConf, registryTables } from './registries-conf.ts'
import type { Activation, MirrorSettings, Plan, Problem, ReadBase, Runtime, WantedFile } from './setup.ts'

export const REGISTRIES_CONF_DIR = '/etc/containers/registries.conf.d'
/** After all others: of equal prefixes the last file counts, and this one carries the others' settings over. */
const FILE = '999-layerswarm.conf'

/** Podman, Buildah and CRI-O: one file of theirs in `registries.conf.d`, which names each registry. */
export class ContainersRuntime implements Runtime {
  readonly name: 'podman' | 'crio'
  readonly recordName = 'containers'
  readonly configPath: string
  readonly #dir: string

  constructor(name: 'podman' | 'crio', options: { readonly confDir?: string | undefined } = {}) {
    this.name = name
    this.#dir = options.confDir ?? REGISTRIES_CONF_DIR
    this.configPath = join(this.#dir, FILE)
  }

  async present(): Promise<boolean> {
    const found = await Promise.all(
      (this.name === 'podman' ? ['/usr/bin/podman', '/usr/bin/buildah'] : ['/etc/crio']).map((path) => stat(path).catch(absent))
    )
    return found.some((one) => one !== undefined)
  }

  async plan(settings: MirrorSettings, base: ReadBase): Promise<Plan> {
    const own = await base(this.configPath, this.#dir)
    if ('problem' in own) return failed(own)
    if (own.text !== undefined)
      return failed({
        problem: `${this.configPath} holds more than what install wrote`,
        remedy: 'move the rest to a file of its own, then run this again'
      })
    const later = await this.#later(settings)
    if (later !== undefined) return failed(later)
    const tables = registryTables(await this.#others())
    if ('problem' in tables) return failed(tables)
    const conf = mirrorConf(tables, settings)
    if ('problem' in conf) return failed(conf)
    const unnamed = conf.origins.filter((origin) => !settings.registries.includes(origin))
    const notes = unnamed.map((origin) => `images come from ${origin} by these files: the agent needs --registry ${origin} to serve them`)
    return { files: [{ path: this.configPath, tree: this.#dir, text: conf.text }], problems: [], notes }
  }

  async candidates(): Promise<readonly { path: string; tree: string }[]> {
    return [{ path: this.configPath, tree: this.#dir }]
  }

  strip(_path: string, text: string): string | undefined {
    const rest = withoutBlocks(text)
    return rest !== text && rest.trim() === '' ? undefined : rest
  }

  async parting(): Promise<readonly WantedFile[]> {
    return []
  }

  async activate(changed: readonly string[]): Promise<Activation> {
    const isRead = this.name === 'crio' || (await daemonsNamed('crio')).length > 0
    const todo =
      changed.length > 0 && isRead ? [{ reason: 'CRI-O reads registries.conf.d when it is told to', command: 'systemctl reload crio' }] : []
    return { done: [], todo, problems: [] }
  }

  async traps(): Promise<readonly Problem[]> {
    return []
  }

  /** registries.conf and what is beside ours, in the order in which they count. */
  async #others(): Promise<ConfFile[]> {
    const names = await this.#names()
    const paths = [join(dirname(this.#dir), 'registries.conf'), ...names.map((name) => join(this.#dir, name))]
    const texts = await Promise.all(paths.map((path) => readFile(path, 'utf8').catch(absent)))
    return paths.flatMap((path, index) => (texts[index] === undefined ? [] : [{ path, text: texts[index] }]))
  }

  /** A file that comes after ours and would end what it says. */
  async #later({ registries }: MirrorSettings): Promise<Problem | undefined> {
    for (const name of (await this.#names()).filter((one) => one > FILE)) {
      const path = join(this.#dir, name)
      const tables = registryTables([{ path, text: await readFile(path, 'utf8') }])
      if ('problem' in tables) return tables
      const prefix = [...tables.keys()].find((key) => registries.includes(key.split('/')[0] ?? ''))
      if (prefix !== undefined)
        return {
          problem: `${path} counts instead of ${FILE} for ${prefix}`,
          remedy: `give it a name that sorts before ${FILE}, then run this again`
        }
    }
    return undefined
  }

  async #names(): Promise<string[]> {
    const names = (await readdir(this.#dir).catch(absent)) ?? []
    return names.filter((name) => name.endsWith('.conf') && name !== FILE).sort()
  }
}

function failed(problem: Problem): Plan {
  return { files: [], problems: [problem], notes: [] }
}
