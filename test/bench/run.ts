/** `npm run bench`: runs every `*.bench.ts` beside it; `npm run bench -- hit memory` those whose name has a part of these. */
import { globSync } from 'node:fs'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Benchmark } from './measure.ts'

const HERE = fileURLToPath(new URL('.', import.meta.url))

const wanted = process.argv.slice(2)
const files = globSync('*.bench.ts', { cwd: HERE }).sort()
const chosen = files.filter((file) => wanted.length === 0 || wanted.some((part) => basename(file, '.bench.ts').includes(part)))
if (chosen.length === 0) {
  process.stderr.write(
    `no benchmark matches ${wanted.join(' ')}; there are: ${files.map((file) => basename(file, '.bench.ts')).join(' ')}\n`
  )
  process.exitCode = 2
}
for (const file of chosen) {
  const { default: benchmark } = (await import(`./${file}`)) as { default: Benchmark }
  process.stdout.write(`\n${basename(file, '.bench.ts')}: ${benchmark.title}\n`)
  console.table(await benchmark.run())
}
