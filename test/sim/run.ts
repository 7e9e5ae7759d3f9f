/** Prints the simulator's table. Usage: node test/sim/run.ts [all | PART OF A NAME …]; without words, the rows up to 200 hosts. */
import { SCENARIOS } from './scenarios.ts'
import { World } from './world.ts'

const words = process.argv.slice(2)
const rows = Object.entries(SCENARIOS).filter(([name, { hosts }]) =>
  words.length === 0 ? hosts <= 200 : words[0] === 'all' || words.some((word) => name.includes(word))
)
console.log('scenario'.padEnd(48), 'last/bound p50/bound copies  dup     haves requests tracker   CPU s')
for (const [name, scenario] of rows) {
  const started = performance.now()
  const o = new World(scenario).run()
  const cells = [
    o.last.toFixed(3),
    o.p50.toFixed(3),
    o.copies.toFixed(4),
    o.duplicates.toFixed(4),
    o.haves.toFixed(0),
    o.requests.toFixed(0),
    o.tracker.toFixed(1)
  ]
  const widths = [10, 9, 7, 7, 9, 8, 7]
  console.log(
    name.padEnd(48),
    cells.map((cell, i) => cell.padStart(widths[i] ?? 8)).join(' '),
    ((performance.now() - started) / 1000).toFixed(1).padStart(7)
  )
}
