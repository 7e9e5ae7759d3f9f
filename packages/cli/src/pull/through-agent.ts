import { PULL_PATH, type PullProgress, type PullRequest, type PullSummary, pullLine } from '@layerswarm/core/api/local-api.ts'
import { answerLines, askAgent, brokeOff } from '../agent-client.ts'

interface PullWatch {
  readonly signal: AbortSignal
  readonly onProgress: (progress: PullProgress) => void
}

/**
 * Has the agent at `agentUrl` pull an image.
 * @returns undefined when no agent runs there and it would be this host's
 * @throws {LayerswarmError} AGENT_UNREACHABLE, or what the agent reports
 */
export async function pullThroughAgent(agentUrl: URL, request: PullRequest, watch: PullWatch): Promise<PullSummary | undefined> {
  const response = await askAgent(agentUrl, PULL_PATH, { method: 'POST', body: request, signal: watch.signal })
  if (response === undefined) return undefined
  for await (const line of answerLines(agentUrl, response, pullLine, watch.signal)) {
    if ('summary' in line) return line.summary
    watch.onProgress(line.progress)
  }
  throw brokeOff(agentUrl)
}
