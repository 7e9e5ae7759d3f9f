/**
 * Cold crowds of several shapes through agents, each beside its bound: one host alone that pulls the same image straight
 * from the registry over the same link. `node test/bench/cases.bench.ts --only alone,arrivals` measures some of them.
 */
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { type AgentRun, agentsAre, Crowd, last } from './fleet/crowd.ts'
import { MIB, median, type Row, rounded } from './measure.ts'

interface Case {
  readonly name: string
  readonly hosts: number
  /** Bytes. */
  readonly layers: readonly number[]
  readonly run?: AgentRun
}

const THREE_LAYERS = [128 * MIB, 96 * MIB, 32 * MIB]
const SMALL_LAYERS = Array.from({ length: 64 }, () => 200 * 1024)
const CASES: readonly Case[] = [
  { name: 'alone', hosts: 1, layers: THREE_LAYERS },
  { name: 'crowd', hosts: 12, layers: THREE_LAYERS },
  { name: 'one layer of 1 GiB', hosts: 8, layers: [1024 * MIB] },
  { name: 'arrivals over 10 s', hosts: 12, layers: THREE_LAYERS, run: { arrivalsMs: 10_000 } },
  { name: '64 small layers', hosts: 12, layers: SMALL_LAYERS },
  { name: 'deaths, one every 5 s', hosts: 12, layers: THREE_LAYERS, run: { deaths: { count: 3, everyMs: 5000 } } }
]

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    rate: { type: 'string', default: '80mbit' },
    rounds: { type: 'string', default: '5' },
    fresh: { type: 'boolean', default: false }
  }
})
const rounds = Number(values.rounds)
const chosen = CASES.filter(({ name }) => values.only.split(',').some((part) => name.includes(part)))
process.stdout.write(`links of ${values.rate}, ${availableParallelism()} cores, medians of ${rounds}; ${agentsAre(values.fresh)}\n`)
const rows: Row[] = []
for (const one of chosen) {
  rows.push(await measure(one))
  process.stderr.write(`${JSON.stringify(rows.at(-1))}\n`)
}
console.table(rows)

async function measure({ name, hosts, layers, run }: Case): Promise<Row> {
  await using crowd = await Crowd.create({ hosts, rate: values.rate, layers, fresh: values.fresh })
  const [bounds, once, lasts, copies]: [number[], number[], number[], number[]] = [[], [], [], []]
  for (let round = 0; round < rounds; round += 1) {
    const alone = await crowd.direct(1)
    bounds.push(last(alone))
    once.push(alone.registryBytes)
    const outcome = await crowd.throughAgents(hosts, run)
    lasts.push(last(outcome))
    copies.push(outcome.registryBytes)
  }
  const bound = median(bounds)
  const row = { case: name, hosts, 'bound, s': rounded(bound), 'last host, s': rounded(median(lasts)) }
  return { ...row, 'last ÷ bound': rounded(median(lasts) / bound), 'registry copies': rounded(median(copies) / median(once)) }
}
