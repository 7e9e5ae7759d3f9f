import type { MirrorStatus, SetupReport } from '@layerswarm/agent/runtime/mirror-setup.ts'
import type { Problem } from '@layerswarm/agent/runtime/setup.ts'

/** What an install or uninstall did, for people. */
export function reportText(report: SetupReport, mirrorUrl: string | undefined): string {
  const { runtime, files, changed, dryRun, done, todo, notes } = report
  const shown = files.filter(({ change, edited }) => change !== 'unchanged' || edited)
  const lines = [
    `${runtime}: ${headline(report, mirrorUrl)}`,
    ...shown.map(({ path, change }) => `  ${change.padEnd(9)} ${path}`),
    ...shown.filter(({ edited }) => edited).map(({ path }) => `note: ${path} was edited since the last install; these edits are kept`),
    ...notes.map((note) => `note: ${note}`),
    ...done.map((what) => `done: ${what}`),
    ...todo.map(({ reason, command }) => `to do: ${reason}:\n  ${command}`),
    ...(dryRun && changed ? ['nothing was written (--dry-run)'] : [])
  ]
  return `${files.map(({ diff }) => diff ?? '').join('')}${lines.join('\n')}\n`
}

function headline({ changed, dryRun }: SetupReport, mirrorUrl: string | undefined): string {
  if (mirrorUrl === undefined) {
    if (!changed) return 'nothing is installed; nothing changed'
    return dryRun ? 'would be as before the install' : 'as before the install'
  }
  if (!changed) return `asks ${mirrorUrl} first already; nothing changed`
  return dryRun ? `would ask ${mirrorUrl} first` : `asks ${mirrorUrl} first`
}

export function statusText({ runtime, present, mirrorUrl, configured, files }: MirrorStatus): string {
  const state =
    mirrorUrl !== null
      ? `installed, asks ${mirrorUrl} first`
      : configured
        ? 'asks the mirror first, by hand'
        : present
          ? 'not installed'
          : 'not on this host'
  return [`${runtime}: ${state}`, ...files.map((file) => `  ${file.state.padEnd(9)} ${file.path}`), ''].join('\n')
}

export function problemText({ problem, remedy }: Problem, word = 'error'): string {
  return `${word}: ${problem}\nfix: ${remedy}\n`
}
