import { type AgentStatus, agentStatus, STATUS_PATH } from '@layerswarm/core/api/status-api.ts'
import { formatBytes, plural } from '../format.ts'
import { ASK_MS, type Finding, ok, problem, unknown } from './finding.ts'

/** What the agent says of itself. */
interface AgentState {
  readonly ready: boolean
  readonly tracker: { readonly connected: boolean }
}

export async function checkAgent(agentUrl: URL, hasTracker: boolean): Promise<Finding> {
  const state = await askAgent(agentUrl)
  if (state === undefined) {
    return problem(
      'agent',
      `no agent answers at ${agentUrl.origin}`,
      'start it with: layerswarm agent; if it listens elsewhere, name it with --agent URL'
    )
  }
  if (!state.ready) return problem('agent', `the agent at ${agentUrl.origin} is not ready`, 'see why in its log; its store may not open')
  if (hasTracker && !state.tracker.connected) {
    return problem(
      'agent',
      `the agent at ${agentUrl.origin} has no connection to a tracker`,
      'see below for the tracker; restart the agent if its options have changed'
    )
  }
  return ok('agent', `the agent at ${agentUrl.origin} is ready`)
}

async function askAgent(agentUrl: URL): Promise<AgentState | undefined> {
  try {
    const response = await fetch(new URL('/readyz', agentUrl), { signal: AbortSignal.timeout(ASK_MS) })
    const state = (await response.json()) as Partial<AgentState>
    return typeof state.ready === 'boolean' && typeof state.tracker?.connected === 'boolean' ? (state as AgentState) : undefined
  } catch {
    return undefined
  }
}

/** Whether container clients would be answered. */
export async function checkMirror(mirrorUrl: string): Promise<Finding> {
  try {
    const response = await fetch(`${mirrorUrl}/v2/`, { signal: AbortSignal.timeout(ASK_MS) })
    await response.body?.cancel()
    if (response.status === 200 && response.headers.has('docker-distribution-api-version'))
      return ok('mirror', `the mirror at ${mirrorUrl} answers`)
    return problem(
      'mirror',
      `what listens at ${mirrorUrl} is no registry mirror (status ${response.status})`,
      'give the agent another --mirror-listen, or stop that program'
    )
  } catch {
    return problem('mirror', `no mirror answers at ${mirrorUrl}`, 'start the agent; if it listens elsewhere, say so with --mirror-listen')
  }
}

/** Whether what containerd holds is shared. @returns none where there is no containerd, or no agent that could say */
export async function checkContainerd(agentUrl: URL): Promise<Finding[]> {
  const containerd = await askStatus(agentUrl)
  if (containerd === undefined) return []
  const { offered, unproven, corrupt, problem: reason } = containerd
  if (reason !== undefined) {
    // Sharing is a choice: whoever runs the agent as another user may have made it.
    return [unknown('containerd', `what containerd holds is not shared; --containerd-address none, if that is meant to be: ${reason}`)]
  }
  if (corrupt.blobs > 0) {
    return [
      problem(
        'containerd',
        `${plural(corrupt.blobs, 'blob')} in containerd ${corrupt.blobs === 1 ? 'is' : 'are'} corrupt, and not offered to other hosts`,
        "see which in the agent's log; remove the images that use them from containerd, and pull them again; check the disk"
      )
    ]
  }
  if (offered.blobs + unproven.blobs === 0) return []
  return [ok('containerd', `${formatBytes(offered.bytes)} that containerd holds is shared where it lies`)]
}

async function askStatus(agentUrl: URL): Promise<AgentStatus['containerd']> {
  try {
    const response = await fetch(new URL(STATUS_PATH, agentUrl), { signal: AbortSignal.timeout(ASK_MS) })
    return agentStatus.parse(await response.json()).containerd
  } catch {
    return undefined
  }
}
