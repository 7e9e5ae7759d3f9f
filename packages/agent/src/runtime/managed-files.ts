import { stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { diskOps, type FileOps, type Ownership, temporaryOf } from './file-ops.ts'
import { absent, type FoundFile, locate, sha256 } from './locate.ts'
import { type RecordData, type RecordedFile, SetupRecord } from './record.ts'
import type { BaseFile, MirrorSettings, Problem, Runtime, WantedFile } from './setup.ts'

/** Configuration is read by daemons of other users too, such as rootless ones. */
const NEW_FILE: Ownership = { mode: 0o644 }
const NEW_DIR = 0o755
/** Originals may hold secrets, such as a header with a token. */
const RECORD_DIR = 0o700

/** What happens, or would happen, to one file. */
export interface FileChange {
  readonly path: string
  readonly found: FoundFile
  /** What it is without anything of ours; undefined for no file, as in the other texts. */
  readonly base: string | undefined
  readonly current: string | undefined
  readonly after: string | undefined
  /** It is to be kept with something of ours in it. */
  readonly wanted: boolean
  /** Somebody else changed it since the last install. */
  readonly edited: boolean
}

interface State {
  readonly found: FoundFile
  readonly base: string | undefined
  readonly edited: boolean
}

export interface ChangeSet {
  readonly changes: readonly FileChange[]
  readonly problems: readonly Problem[]
}

/**
 * The files of a runtime that the mirror is installed in. Knows what each was before, changes them so that a crash
 * between any two steps leaves files that are whole and a record that is true, and restores them.
 */
export class ManagedFiles {
  readonly #runtime: Pick<Runtime, 'strip'>
  readonly #ops: FileOps
  readonly #record: SetupRecord
  readonly #data: RecordData
  readonly #states = new Map<string, State | Problem>()

  private constructor(runtime: Pick<Runtime, 'strip'>, record: SetupRecord, data: RecordData, ops: FileOps) {
    this.#runtime = runtime
    this.#record = record
    this.#data = data
    this.#ops = ops
  }

  /**
   * @param dir of the record
   * @throws {LayerswarmError} SETUP_FAILED
   */
  static async open(dir: string, runtime: Pick<Runtime, 'strip'>, ops: FileOps = diskOps): Promise<ManagedFiles> {
    const record = new SetupRecord(dir, ops)
    return new ManagedFiles(runtime, record, await record.read(), ops)
  }

  /** What is installed; undefined when nothing is. */
  get settings(): MirrorSettings | undefined {
    return this.#data.settings ?? undefined
  }

  /** Mirrors that the files may name: one, none, or after an interrupted install several. */
  get mirrorUrls(): readonly string[] {
    return this.#data.mirrorUrls
  }

  /** Paths with something of ours in them. */
  get paths(): readonly string[] {
    return this.#data.files.map(({ path }) => path)
  }

  /** A file without what was installed into it: its original, or where it was edited since, the text without our part. */
  async base(path: string, tree: string): Promise<BaseFile> {
    const state = await this.#state(path, tree)
    return 'problem' in state ? state : { text: state.base }
  }

  /** What has to change so that just the `wanted` files carry the mirror; in `others` it may be left from a lost record. */
  async changes(wanted: readonly WantedFile[], others: readonly { path: string; tree: string }[] = []): Promise<ChangeSet> {
    const changes = new Map<string, FileChange>()
    const problems: Problem[] = []
    // A recorded path is a real one already: it lies in the tree that it was found in.
    const recorded = this.paths.map((path) => ({ path, tree: dirname(path) }))
    for (const place of [...wanted, ...others, ...recorded]) {
      const state = await this.#state(place.path, place.tree)
      if (!('problem' in state)) {
        if (changes.has(state.found.realPath)) continue
        const after = 'text' in place ? place.text : state.base
        changes.set(state.found.realPath, { ...state, path: place.path, current: state.found.text, after, wanted: 'text' in place })
      } else if (!others.includes(place)) problems.push(state)
    }
    return { changes: [...changes.values()], problems }
  }

  /**
   * Carries `changes` out.
   * @param settings what is then installed; undefined for nothing
   * @throws {LayerswarmError} SETUP_FAILED; what was done until then stays, and can be repeated or taken back
   */
  async apply({ changes }: ChangeSet, settings: MirrorSettings | undefined): Promise<void> {
    try {
      await this.#apply(changes, settings)
    } catch (cause) {
      if (cause instanceof LayerswarmError) throw cause
      throw new LayerswarmError('SETUP_FAILED', { detail: (cause as Error).message, cause })
    }
  }

  async #apply(changes: readonly FileChange[], settings: MirrorSettings | undefined): Promise<void> {
    const files = changes.filter(({ wanted, base, after }) => wanted && base !== after).map((change) => this.#recorded(change))
    const installed = settings === undefined || files.length === 0 ? null : { ...settings, registries: [...settings.registries] }
    const done: RecordData = {
      version: 1,
      settings: installed,
      mirrorUrls: installed === null ? [] : [installed.mirrorUrl],
      createdDirs: [],
      files: files.map((file) => ({ ...file, after: file.after.slice(-1) }))
    }
    const writes = changes.filter(({ current, after }) => current !== after)
    if (writes.length === 0 && sameRecord(done, this.#data)) return await this.#record.tidy(done)

    const createdDirs = new Set(this.#data.createdDirs)
    for (const dir of [
      this.#record.dir,
      ...writes.filter(({ after }) => after !== undefined).map(({ found }) => dirname(found.realPath))
    ]) {
      for (const missing of await missingDirs(dir)) createdDirs.add(missing)
    }
    for (const dir of await missingDirs(this.#record.dir)) await this.#ops.makeDir(dir, RECORD_DIR)
    for (const { base, after, wanted } of changes) if (wanted && base !== undefined && base !== after) await this.#record.keepOriginal(base)
    const kept = this.#data.files.filter(({ path }) => !files.some((file) => file.path === path))
    const urls = [...new Set([...this.#data.mirrorUrls, ...done.mirrorUrls])]
    await this.#record.write({ ...done, mirrorUrls: urls, createdDirs: [...createdDirs], files: [...kept, ...files] })

    for (const change of writes) await this.#write(change)
    for (const { found } of changes) await this.#ops.remove(temporaryOf(found.realPath))
    await this.#finish(done, createdDirs)
  }

  async #write({ path, found, after, current }: FileChange): Promise<void> {
    const now = await locate(found.realPath, dirname(found.realPath))
    if ('problem' in now || now.text !== current) {
      throw new LayerswarmError('SETUP_FAILED', { detail: `${path} was changed by somebody else just now; run this again` })
    }
    if (after === undefined) return await this.#ops.remove(found.realPath)
    for (const dir of await missingDirs(dirname(found.realPath))) await this.#ops.makeDir(dir, NEW_DIR)
    await this.#ops.replace(found.realPath, after, found.ownership ?? NEW_FILE)
  }

  async #finish(done: RecordData, createdDirs: ReadonlySet<string>): Promise<void> {
    // Before the record goes, which knows of them. Folders that it lies in itself are not empty yet.
    const left = await this.#removeEmpty(createdDirs)
    if (done.files.length > 0) await this.#record.write({ ...done, createdDirs: left })
    await this.#record.tidy(done)
    if (done.files.length === 0) await this.#removeEmpty(left)
  }

  /** @returns those that are not empty */
  async #removeEmpty(dirs: Iterable<string>): Promise<string[]> {
    const left: string[] = []
    const deepestFirst = [...dirs].sort((a, b) => b.length - a.length)
    for (const dir of deepestFirst) if (!(await this.#ops.removeDir(dir))) left.push(dir)
    return left
  }

  #recorded({ found, base, after = '' }: FileChange): RecordedFile {
    const before = base === undefined ? null : sha256(base)
    const earlier = this.#data.files.find(({ path }) => path === found.realPath)
    const ours = earlier?.before === before ? earlier.after : []
    const last = sha256(after)
    const mode = earlier?.before === before ? earlier.mode : (found.ownership?.mode ?? null)
    return { path: found.realPath, before, after: [...ours.filter((one) => one !== last), last], mode: before === null ? null : mode }
  }

  async #state(path: string, tree: string): Promise<State | Problem> {
    const known = this.#states.get(path)
    if (known !== undefined) return known
    try {
      const found = await locate(path, tree)
      const state = 'problem' in found ? found : { found, ...(await this.#unmixed(found)) }
      this.#states.set(path, state)
      return state
    } catch (cause) {
      throw new LayerswarmError('SETUP_FAILED', { detail: path, cause })
    }
  }

  async #unmixed({ realPath, text }: FoundFile): Promise<{ base: string | undefined; edited: boolean }> {
    const recorded = this.#data.files.find(({ path }) => path === realPath)
    if (text === undefined) return { base: undefined, edited: recorded !== undefined && recorded.before !== null }
    const digest = sha256(text)
    if (recorded?.before === digest) return { base: text, edited: false }
    if (recorded?.after.includes(digest)) {
      if (recorded.before === null) return { base: undefined, edited: false }
      const original = await this.#record.original(recorded.before)
      if (original !== undefined) return { base: original, edited: false }
    }
    return { base: this.#runtime.strip(realPath, text, this.#data.mirrorUrls), edited: recorded !== undefined }
  }
}

function sameRecord(a: RecordData, b: RecordData): boolean {
  return isDeepStrictEqual({ ...a, createdDirs: [] }, { ...b, createdDirs: [] })
}

/** The folders that have to be made for `dir` to exist, outermost first. */
async function missingDirs(dir: string): Promise<string[]> {
  if ((await stat(dir).catch(absent)) !== undefined) return []
  return [...(await missingDirs(dirname(dir))), dir]
}
