/**
 * Prints the simulator's table. Usage: node test/sim/run.ts [all | PART OF A NAME …]; without words, the rows that the
 * tests run. `--write` keeps what those rows give as what the tests expect.
 */
import { writeFileSync } from 'node:fs'
import { EXPECTED, figuresOf, ROUTINE } from './expected.ts'
import { SCENARIOS } from './scenarios.ts'
import { World } from './world.ts'

const words = process.argv.slice(2).filter((word) => word !== '--write')
const write = process.argv.includes('--write')
if (write && words.length > 0) throw new Error('--write keeps all rows that the tests run: name none')
const rows = Object.entries(SCENARIOS).filter(([name]) =>
  words.length === 0 ? name in ROUTINE : words[0] === 'all' || words.some((word) => name.includes(word))
)
const kept: Record<string, unknown> = {}
console.log('scenario'.padEnd(52), 'last/bound p50/bound copies  dup     haves requests tracker crossed   CPU s')
for (const [name, scenario] of rows) {
  const started = performance.now()
  const o = new World(scenario).run()
  kept[name] = figuresOf(o)
  const cells = [
    o.last.toFixed(3),
    o.p50.toFixed(3),
    o.copies.toFixed(4),
    o.duplicates.toFixed(4),
    o.haves.toFixed(0),
    o.requests.toFixed(0),
    o.tracker.toFixed(1),
    o.crossed.toFixed(3)
  ]
  const widths = [10, 9, 7, 7, 9, 8, 7, 7]
  console.log(
    name.padEnd(52),
    cells.map((cell, i) => cell.padStart(widths[i] ?? 8)).join(' '),
    ((performance.now() - started) / 1000).toFixed(1).padStart(7)
  )
}
if (write) writeFileSync(EXPECTED, `${JSON.stringify(kept, null, 2)}\n`)
