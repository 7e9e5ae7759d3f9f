/**
 * A cold flash crowd over shaped links: every host straight from docker-registry, through a docker-registry that caches,
 * and through agents. `node test/bench/fleet.bench.ts --svg FILE` also draws the result.
 */
import { writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { chart, type Series } from './fleet/chart.ts'
import { agentsAre, Crowd, first, last, type Outcome } from './fleet/crowd.ts'
import { MIB, median, type Row, rounded } from './measure.ts'

const { values } = parseArgs({
  options: {
    hosts: { type: 'string', default: '1,2,4,8,12' },
    rate: { type: 'string', default: '80mbit' },
    layers: { type: 'string', default: '32,24,8' },
    rounds: { type: 'string', default: '5' },
    'direct-rounds': { type: 'string', default: '5' },
    fresh: { type: 'boolean', default: false },
    svg: { type: 'string' }
  }
})
const counts = values.hosts.split(',').map(Number)
const sizes = values.layers.split(',').map((mib) => Number(mib) * MIB)
const rounds = { agents: Number(values.rounds), direct: Number(values['direct-rounds']) }
const image = `${sizes.reduce((sum, size) => sum + size, 0) / MIB} MiB in ${sizes.length} layers`
process.stdout.write(
  `${image}, links of ${values.rate}, ${availableParallelism()} cores, medians of ${rounds.agents}, others of ${rounds.direct}; ${agentsAre(values.fresh)}\n`
)

await using crowd = await Crowd.create({ hosts: Math.max(...counts), rate: values.rate, layers: sizes, fresh: values.fresh })
const alone = await repeat(rounds.agents, () => crowd.direct(1))
const bound = median(alone.map(last))
const once = median(alone.map(({ registryBytes }) => registryBytes))
const ways = [
  { name: 'direct', color: '#c0392b', rounds: rounds.direct, pull: (hosts: number) => crowd.direct(hosts) },
  { name: 'pull-through cache', color: '#e08e0b', rounds: rounds.direct, pull: (hosts: number) => crowd.throughCache(hosts) },
  { name: 'Layerswarm', color: '#1f6feb', rounds: rounds.agents, pull: (hosts: number) => crowd.throughAgents(hosts) }
]
const rows: Row[] = []
const series: Series[] = []
for (const { name, color, rounds, pull } of ways) {
  const points: { hosts: number; seconds: number }[] = []
  for (const hosts of counts) {
    const outcomes = await repeat(rounds, () => pull(hosts))
    const seconds = median(outcomes.map(last))
    points.push({ hosts, seconds })
    const copies = median(outcomes.map(({ registryBytes }) => registryBytes)) / once
    const row = { way: name, hosts, 'last host, s': rounded(seconds), 'last ÷ bound': rounded(seconds / bound) }
    rows.push({ ...row, 'first ÷ bound': rounded(median(outcomes.map(first)) / bound), 'registry copies': rounded(copies) })
    process.stderr.write(`${JSON.stringify(rows.at(-1))}\n`)
  }
  series.push({ name, color, points })
}
process.stdout.write(`bound: one host alone, straight from the registry, ${bound.toFixed(2)} s\n`)
console.table(rows)
if (values.svg !== undefined) {
  const line: Series = { name: 'bound', color: '#555', dashed: true, points: counts.map((hosts) => ({ hosts, seconds: bound })) }
  writeFileSync(values.svg, chart(`${image}, cold, links of ${values.rate}`, [...series, line]))
}

async function repeat(rounds: number, run: () => Promise<Outcome>): Promise<Outcome[]> {
  const outcomes: Outcome[] = []
  for (let round = 0; round < rounds; round += 1) outcomes.push(await run())
  return outcomes
}
