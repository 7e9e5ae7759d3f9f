/** `npm run bench`: runs every `*.bench.ts` beside it; `npm run bench -- hit memory` those whose name has a part of these. */
import { spawnSync } from 'node:child_process'
import { globSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const HERE = fileURLToPath(new URL('.', import.meta.url))

const wanted = process.argv.slice(2)
const files = globSync('*.bench.ts', { cwd: HERE }).sort()
const chosen = files.filter((file) => wanted.length === 0 || wanted.some((part) => nameOf(file).includes(part)))
if (chosen.length === 0) {
  process.stderr.write(`no benchmark matches ${wanted.join(' ')}; there are: ${files.map(nameOf).join(' ')}\n`)
  process.exitCode = 2
}
for (const file of chosen) {
  process.stdout.write(`\n${nameOf(file)}\n`)
  const { status } = spawnSync(process.execPath, [join(HERE, file)], { stdio: 'inherit' })
  if (status !== 0) process.exitCode = 1
}

function nameOf(file: string): string {
  return basename(file, '.bench.ts')
}
