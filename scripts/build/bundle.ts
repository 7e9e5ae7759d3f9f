import { cp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build, type Metafile } from 'esbuild'
import { licenceTexts } from './licences.ts'

/** The checkout. */
export const ROOT = fileURLToPath(new URL('../../', import.meta.url))
/** What is published, with the bundle in `dist`. */
export const PACKAGE = join(ROOT, 'packages', 'cli')
const DIST = join(PACKAGE, 'dist')

/** What is started by file name, as a command or a thread: each a file of its own, all in one folder with what they share. */
const ENTRIES = {
  main: 'packages/cli/src/main.ts',
  'hash-worker': 'packages/agent/src/store/hash-worker.ts'
}

/** Bundled CommonJS packages ask for Node's modules and for the folder they lie in; the native addon is found in the latter. */
const COMMONJS = `import { createRequire as requireOf } from 'node:module'
const require = requireOf(import.meta.url)
const __dirname = import.meta.dirname`

/** The machines that the addon of the key-value store comes built for, and that this product is for. */
const ADDONS = ['linux-x64', 'linux-arm64']

/**
 * Bundles the command and all that it imports into packages/cli/dist, from which `npm pack`, the image and the Debian
 * package are made. The result needs Node and nothing else: no package is installed beside it.
 * @returns bytes of JavaScript
 */
export async function bundle(): Promise<number> {
  await rm(DIST, { recursive: true, force: true })
  const { metafile } = await build({
    absWorkingDir: ROOT,
    entryPoints: ENTRIES,
    outdir: DIST,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    banner: { js: COMMONJS },
    // Their texts go into one file, whole.
    legalComments: 'none',
    metafile: true,
    logLevel: 'warning'
  })
  for (const addon of ADDONS) {
    await cp(join(ROOT, 'node_modules/classic-level/prebuilds', addon), join(DIST, 'prebuilds', addon), { recursive: true })
  }
  await writeFile(join(DIST, 'THIRD-PARTY-LICENSES.txt'), await licenceTexts(ROOT, Object.keys(metafile.inputs)))
  await cp(join(ROOT, 'LICENSE'), join(PACKAGE, 'LICENSE'))
  return bytesOf(metafile)
}

function bytesOf({ outputs }: Metafile): number {
  return Object.values(outputs).reduce((sum, { bytes }) => sum + bytes, 0)
}
