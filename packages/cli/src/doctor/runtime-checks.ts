import { type ConfigPlaces, installCommand, type MirrorStatus, mirrorStatus, runtimeNamed } from '@layerswarm/agent/runtime/mirror-setup.ts'
import { type MirrorSettings, RUNTIME_NAMES } from '@layerswarm/agent/runtime/setup.ts'
import { describeError } from '@layerswarm/core/errors.ts'
import { type Finding, ok, problem, unknown } from './finding.ts'

/** Whether the container runtimes of this host ask the agent, and what keeps them from it. */
export async function checkRuntimes(settings: MirrorSettings, places: ConfigPlaces, dataDir: string): Promise<readonly Finding[]> {
  const findings: Finding[] = []
  let used = false
  for (const name of RUNTIME_NAMES) {
    try {
      const status = await mirrorStatus(runtimeNamed(name, places), settings, { dataDir })
      // CRI-O and podman share their files: what is not here has nothing to say.
      if (!status.present && status.mirrorUrl === null) continue
      const isInUse = status.configured || status.mirrorUrl !== null
      used ||= isInUse
      if (isInUse) findings.push(...ofStatus(status, settings.mirrorUrl))
    } catch (error) {
      findings.push(unknown(name, describeError(error)))
    }
  }
  if (used || findings.length > 0) return findings
  return [
    problem(
      'runtimes',
      'no container runtime of this host asks the agent',
      `run: ${installCommand({ name: 'containerd' })} (or docker, podman, crio)`
    )
  ]
}

function ofStatus({ runtime, mirrorUrl, configured, problems }: MirrorStatus, expected: string): readonly Finding[] {
  const found = problems.map((one) => problem(runtime, one.problem, one.remedy))
  if (mirrorUrl !== null && mirrorUrl !== expected) {
    const remedy = `run: ${installCommand({ name: runtime })} --mirror-url ${expected}`
    return [problem(runtime, `${runtime} asks ${mirrorUrl}, but the agent listens at ${expected}`, remedy)]
  }
  if (found.length > 0) return found
  if (configured) return [ok(runtime, `${runtime} asks ${expected} first`)]
  return [
    problem(runtime, `${runtime}'s configuration was changed since the mirror was installed`, `run: ${installCommand({ name: runtime })}`)
  ]
}
