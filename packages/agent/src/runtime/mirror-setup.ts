/** Installs the mirror in a container runtime's configuration, takes it out again, and tells what is there. */
import { join } from 'node:path'
import { createTwoFilesPatch } from 'diff'
import { ContainerdRuntime } from './containerd.ts'
import { ContainersRuntime } from './containers.ts'
import { DockerRuntime } from './docker.ts'
import { type FileChange, ManagedFiles } from './managed-files.ts'
import type { Activation, MirrorSettings, Problem, Runtime, RuntimeName } from './setup.ts'

/** Where configuration lies on an unusual host. */
export interface ConfigPlaces {
  readonly containerdConfig?: string | undefined
  readonly dockerConfig?: string | undefined
  readonly registriesConfDir?: string | undefined
}

export function runtimeNamed(name: RuntimeName, places: ConfigPlaces = {}): Runtime {
  if (name === 'containerd') return new ContainerdRuntime({ configFile: places.containerdConfig })
  if (name === 'docker') return new DockerRuntime({ configFile: places.dockerConfig })
  return new ContainersRuntime(name, { confDir: places.registriesConfDir })
}

export interface ChangedFile {
  readonly path: string
  readonly change: 'created' | 'changed' | 'restored' | 'removed' | 'unchanged'
  /** Somebody else changed it since the last install; that stays. */
  readonly edited: boolean
  /** Unified; what would happen in a dry run. */
  readonly diff?: string
}

export interface SetupReport extends Activation {
  readonly runtime: RuntimeName
  readonly dryRun: boolean
  /** Whether any file was, or in a dry run would be, written. */
  readonly changed: boolean
  readonly files: readonly ChangedFile[]
  readonly notes: readonly string[]
}

interface SetupOptions {
  /** Where the record of what was changed lies, in a folder of its own. */
  readonly dataDir: string
  readonly dryRun?: boolean
}

/**
 * Has the runtime ask the mirror first. With problems nothing is written.
 * @throws {LayerswarmError} SETUP_FAILED
 */
export async function installMirror(runtime: Runtime, settings: MirrorSettings, options: SetupOptions): Promise<SetupReport> {
  const files = await openFiles(runtime, options)
  const plan = await runtime.plan(settings, (path, tree) => files.base(path, tree))
  const set = await files.changes(plan.files)
  const problems = [...plan.problems, ...set.problems]
  if (problems.length > 0) return report(runtime, options, { notes: plan.notes, problems })
  return await carryOut(runtime, options, { files, set, settings, notes: plan.notes })
}

/**
 * Takes out what install put in: files that are as it left them are restored byte for byte.
 * @throws {LayerswarmError} SETUP_FAILED
 */
export async function uninstallMirror(runtime: Runtime, options: SetupOptions): Promise<SetupReport> {
  const files = await openFiles(runtime, options)
  const set = await files.changes([], await runtime.candidates())
  if (set.problems.length > 0) return report(runtime, options, { problems: set.problems })
  const job = { files, set, settings: undefined, notes: [] }
  const isGoing = set.changes.some(({ current, after }) => current !== after)
  if (options.dryRun === true || !isGoing) return await carryOut(runtime, options, job)

  const parting = await runtime.parting((path, tree) => files.base(path, tree))
  if (parting.length === 0) return await carryOut(runtime, options, job)
  const done = await carryOut(runtime, options, { ...job, set: await files.changes(parting) })
  const rest = await openFiles(runtime, options)
  await rest.apply(await rest.changes([], await runtime.candidates()), undefined)
  const changed = set.changes.filter(({ current, after }) => current !== after).map((change) => changedFile(change, false, false))
  return { ...done, files: changed }
}

export interface MirrorStatus {
  readonly runtime: RuntimeName
  /** Whether the runtime seems to be on this host. */
  readonly present: boolean
  /** Where it was installed to ask; null when it was not installed. */
  readonly mirrorUrl: string | null
  /** Whether everything is as an install would leave it, whoever wrote it. */
  readonly configured: boolean
  readonly files: readonly { readonly path: string; readonly state: 'installed' | 'edited' | 'missing' }[]
  readonly problems: readonly Problem[]
}

/**
 * @param settings what to look for where nothing is installed: somebody may have written it by hand
 * @throws {LayerswarmError} SETUP_FAILED
 */
export async function mirrorStatus(runtime: Runtime, settings: MirrorSettings, options: SetupOptions): Promise<MirrorStatus> {
  const files = await openFiles(runtime, options)
  const effective = files.settings ?? settings
  const plan = await runtime.plan(effective, (path, tree) => files.base(path, tree))
  const set = await files.changes(plan.files)
  const problems = [...plan.problems, ...set.problems]
  const configured = problems.length === 0 && set.changes.every(({ current, after }) => current === after)
  const recorded = set.changes.filter(({ found }) => files.paths.includes(found.realPath))
  const isInUse = files.mirrorUrls.length > 0 || configured
  const interrupted =
    files.mirrorUrls.length > 1 ? [{ problem: 'an install was interrupted', remedy: `run: ${installCommand(runtime)}` }] : []
  return {
    runtime: runtime.name,
    present: await runtime.present(),
    mirrorUrl: files.settings?.mirrorUrl ?? null,
    configured,
    files: recorded.map(({ path, current, edited }) => ({
      path,
      state: current === undefined ? 'missing' : edited ? 'edited' : 'installed'
    })),
    problems: isInUse ? unique([...interrupted, ...problems, ...(await runtime.traps(effective.mirrorUrl))]) : []
  }
}

export function installCommand({ name }: Pick<Runtime, 'name'>): string {
  return `layerswarm mirror install --runtime ${name}`
}

interface Job {
  readonly files: ManagedFiles
  readonly set: Awaited<ReturnType<ManagedFiles['changes']>>
  /** What is installed then; undefined for nothing. */
  readonly settings: MirrorSettings | undefined
  readonly notes: readonly string[]
}

async function carryOut(runtime: Runtime, options: SetupOptions, { files, set, settings, notes }: Job): Promise<SetupReport> {
  const recorded = files.paths
  const told = set.changes.filter(
    ({ current, after, found }) => current !== after || recorded.includes(found.realPath) || settings !== undefined
  )
  const changedFiles = told.map((change) => changedFile(change, settings !== undefined, options.dryRun === true))
  if (options.dryRun === true) return report(runtime, options, { files: changedFiles, notes })
  const former = files.mirrorUrls
  await files.apply(set, settings)
  const written = set.changes.filter(({ current, after }) => current !== after).map(({ path, found }) => [path, found.realPath])
  const activation = await runtime.activate(written.flat(), settings?.mirrorUrl, former)
  return report(runtime, options, { files: changedFiles, notes, ...activation })
}

function report(runtime: Runtime, { dryRun = false }: SetupOptions, parts: Partial<SetupReport>): SetupReport {
  const files = parts.files ?? []
  const changed = files.some(({ change }) => change !== 'unchanged')
  return { runtime: runtime.name, dryRun, changed, files, problems: [], notes: [], done: [], todo: [], ...parts }
}

function changedFile({ path, current, after, edited, found }: FileChange, installing: boolean, dryRun: boolean): ChangedFile {
  const diff = dryRun && current !== after ? { diff: unifiedDiff(found.realPath, current, after) } : {}
  return { path, change: kindOf(current, after, installing), edited, ...diff }
}

function kindOf(current: string | undefined, after: string | undefined, installing: boolean): ChangedFile['change'] {
  if (current === after) return 'unchanged'
  if (current === undefined) return 'created'
  if (after === undefined) return 'removed'
  return installing ? 'changed' : 'restored'
}

function unifiedDiff(path: string, before: string | undefined, after: string | undefined): string {
  const patch = createTwoFilesPatch(
    before === undefined ? '/dev/null' : path,
    after === undefined ? '/dev/null' : path,
    before ?? '',
    after ?? ''
  )
  return patch.replace(/^(?:Index: .*\n)?=+\n/, '')
}

function unique(problems: readonly Problem[]): Problem[] {
  return [...new Map(problems.map((one) => [one.problem, one])).values()]
}

function openFiles(runtime: Runtime, { dataDir }: SetupOptions): Promise<ManagedFiles> {
  return ManagedFiles.open(join(dataDir, 'mirror', runtime.recordName), runtime)
}
