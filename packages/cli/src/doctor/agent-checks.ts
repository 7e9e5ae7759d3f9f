import { ASK_MS, type Finding, ok, problem } from './finding.ts'

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
