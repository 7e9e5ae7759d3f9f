/** `npm run build`, and what `npm pack` does first: see bundle.ts. */
import { bundle } from './build/bundle.ts'

process.stdout.write(`packages/cli/dist: ${((await bundle()) / 1e6).toFixed(1)} MB of JavaScript\n`)
