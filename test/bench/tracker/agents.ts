/** Many agents in one process, each a host of its own, that do what their parent says. */
import { BenchAgent, imageOf } from './bench-agent.ts'

export type Order =
  | { readonly do: 'connect'; readonly count: number; readonly tracker: { readonly id: string; readonly address: string } }
  /** Each holds so many images, from one number on. */
  | { readonly do: 'hold'; readonly images: number }
  | { readonly do: 'announce'; readonly agents: number; readonly times: number }
  | { readonly do: 'report'; readonly agents: number; readonly times: number; readonly image: number }
  | { readonly do: 'plan'; readonly agents: number; readonly image: number }
  /** So many pulls a second, for so long, of an image that changes every ten seconds. */
  | { readonly do: 'pull'; readonly perSecond: number; readonly seconds: number; readonly image: number }

/** Messages that the agents sent and received while they did it. */
export interface Done {
  readonly sent: number
  readonly received: number
  /** Agents that have lost their connection since they made it. */
  readonly lost: number
}

/** Handshakes at a time: a tracker has limits of its own. */
const AT_ONCE = 4
/** A tracker takes so many new connections a second from one address, and a handshake may time out on a busy machine. */
const TRIES = 20
const RETRY_MS = 500
const IMAGE_SECONDS = 10
const PULL_SECONDS = 3

const agents: BenchAgent[] = []

async function each(count: number, act: (at: number) => Promise<void>, atOnce = AT_ONCE): Promise<void> {
  let next = 0
  const worker = async () => {
    for (let at = next++; at < count; at = next++) await act(at)
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
}

async function connect(tracker: { readonly id: string; readonly address: string }, left = TRIES): Promise<BenchAgent> {
  try {
    return await BenchAgent.connect(tracker)
  } catch (error) {
    if (left <= 1) throw error
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
    return await connect(tracker, left - 1)
  }
}

function agentAt(at: number): BenchAgent {
  return agents[at % agents.length] as BenchAgent
}

async function pulls(perSecond: number, seconds: number, image: number): Promise<void> {
  const running: Promise<void>[] = []
  const count = Math.round(perSecond * seconds)
  const began = performance.now()
  for (let i = 0; i < count; i++) {
    const wait = began + (i * 1000) / perSecond - performance.now()
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait))
    const now = Math.floor((performance.now() - began) / 1000 / IMAGE_SECONDS)
    running.push(agentAt(image + i).pull(imageOf(image + now), PULL_SECONDS))
  }
  await Promise.all(running)
}

async function obey(order: Order): Promise<void> {
  switch (order.do) {
    case 'connect':
      return await each(order.count, async () => void agents.push(await connect(order.tracker)))
    case 'hold': {
      const blobs = Array.from({ length: order.images }, (_, i) => imageOf(i)).flat()
      for (const agent of agents) agent.holdOnly(blobs)
      return await each(agents.length, (at) => agentAt(at).announce(0))
    }
    case 'announce':
      return await each(order.agents, (at) => agentAt(at).announce(order.times))
    case 'report': {
      const [layer] = imageOf(order.image)
      if (layer === undefined) return
      return await each(order.agents, (at) => agentAt(at).report(layer.digest, order.times))
    }
    case 'plan':
      return await each(order.agents, (at) => agentAt(at).plan(imageOf(order.image)))
    case 'pull':
      return await pulls(order.perSecond, order.seconds, order.image)
  }
}

process.on('disconnect', () => process.exit())
process.on('message', async (order: Order) => {
  const count = (what: 'sent' | 'received') => agents.reduce((sum, agent) => sum + agent[what], 0)
  const [sent, received] = [count('sent'), count('received')]
  await obey(order)
  process.send?.({
    sent: count('sent') - sent,
    received: count('received') - received,
    lost: agents.filter(({ lost }) => lost).length
  } satisfies Done)
})
