import { EXIT_DONE, reportFailure } from './exit.ts'
import { createProgram } from './program.ts'

/** `layerswarm … | head` is a fine way to use a command: it ends once nobody reads any more. */
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
    process.exit(EXIT_DONE)
  })
}

process.exitCode = await createProgram()
  .parseAsync()
  .then(() => process.exitCode ?? EXIT_DONE)
  .catch(reportFailure)
