/** What the parts of a mirror set-up say to each other: a runtime plans files, the managed files carry the plan out. */

export const RUNTIME_NAMES = ['containerd', 'docker', 'podman', 'crio'] as const
export type RuntimeName = (typeof RUNTIME_NAMES)[number]

/** Something that keeps the mirror from working, and what a person can do about it. */
export interface Problem {
  readonly problem: string
  readonly remedy: string
}

/** What the runtime shall be told. */
export interface MirrorSettings {
  /** Scheme, host and port: `http://127.0.0.1:5050`. */
  readonly mirrorUrl: string
  /** Registries to name where a runtime has no catch-all. */
  readonly registries: readonly string[]
  /** Only these registries, also where a catch-all exists. */
  readonly onlyRegistries: boolean
}

/** One file as the runtime shall find it. */
export interface WantedFile {
  readonly path: string
  /** The folder that the file must really lie in, symbolic links followed. */
  readonly tree: string
  readonly text: string
}

/** A file without anything that was installed into it; `text` is undefined where there is none. */
export type BaseFile = { readonly text: string | undefined } | Problem

export type ReadBase = (path: string, tree: string) => Promise<BaseFile>

export interface Plan {
  /** In the order in which they are written. */
  readonly files: readonly WantedFile[]
  /** If there is any, nothing is written. */
  readonly problems: readonly Problem[]
  readonly notes: readonly string[]
}

/** What makes the running daemon follow its files. */
export interface Activation {
  readonly done: readonly string[]
  readonly todo: readonly { readonly reason: string; readonly command: string }[]
  readonly problems: readonly Problem[]
}

/** A client of the mirror that is configured by files. */
export interface Runtime {
  readonly name: RuntimeName
  /** Runtimes that read the same files share a record of what was changed. */
  readonly recordName: string
  /** Where its configuration lies: what a person would look at first. */
  readonly configPath: string
  /** Whether the runtime seems to be on this host. */
  present(): Promise<boolean>
  plan(settings: MirrorSettings, base: ReadBase): Promise<Plan>
  /** Files that an earlier install may have written, if its record is lost. */
  candidates(): Promise<readonly { readonly path: string; readonly tree: string }[]>
  /** The text without what install put into it for mirrors at `urls`; undefined when nothing else is in it. */
  strip(path: string, text: string, urls: readonly string[]): string | undefined
  /**
   * Files that a running daemon has to read once before the originals come back, where these alone would not make it
   * let go of the mirror.
   */
  parting(base: ReadBase): Promise<readonly WantedFile[]>
  /**
   * Lets the daemon follow. `changed` are the paths just written, `mirrorUrl` is undefined after an uninstall, and
   * `former` are the mirrors that were installed until now.
   */
  activate(changed: readonly string[], mirrorUrl: string | undefined, former: readonly string[]): Promise<Activation>
  /** Traps in what is configured now, for a mirror at `mirrorUrl` that is meant to be in use. */
  traps(mirrorUrl: string): Promise<readonly Problem[]>
}
