import { copyFileSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { command } from './command.ts'

/** The folders that Debian keeps libraries in: links, in an image as on the machine. */
const LIBRARY_FOLDERS = ['lib', 'lib64']
const NONROOT = 65532

/** What an image of `Dockerfile` or `docker-compose.yml` is made of where it cannot be had from its registry. */
interface BaseImage {
  readonly name: string
  /** Programs of this machine; the libraries that they load come with them. `from` to be found at `to`. */
  readonly programs: readonly { readonly from: string; readonly to: string }[]
  readonly files?: Readonly<Record<string, string>>
  /** Dockerfile instructions for its configuration. */
  readonly changes: readonly string[]
}

function installed(...names: readonly string[]): BaseImage['programs'] {
  return names.map((name) => ({ from: `/bin/${name}`, to: `/bin/${name}` }))
}

const NODE = { from: process.execPath, to: '/usr/local/bin/node' }

/** Stand-ins that have of the real ones what is used of them. */
const BASE_IMAGES: readonly BaseImage[] = [
  { name: 'node:24-slim', programs: [...installed('sh', 'mkdir', 'cp', 'sed', 'ln'), NODE], changes: ['CMD ["node"]'] },
  {
    name: 'gcr.io/distroless/cc-debian12:nonroot',
    // Its libraries, those that Node needs, and no program.
    programs: [{ ...NODE, to: '' }],
    files: { '/etc/passwd': `root:x:0:0::/root:/sbin/nologin\nnonroot:x:${NONROOT}:${NONROOT}::/home/nonroot:/sbin/nologin\n` },
    changes: [`USER ${NONROOT}`]
  },
  {
    name: 'registry:2',
    programs: [{ from: '/usr/bin/docker-registry', to: '/bin/registry' }],
    files: {
      '/etc/docker/registry/config.yml': `version: 0.1
storage: { filesystem: { rootdirectory: /var/lib/registry } }
http: { addr: ':5000' }
`
    },
    changes: ['VOLUME /var/lib/registry', 'EXPOSE 5000', 'ENTRYPOINT ["registry"]', 'CMD ["serve", "/etc/docker/registry/config.yml"]']
  }
]

/** Gives a Docker engine, under their own names, the images that this project's files start from. */
export async function importBaseImages(docker: (args: readonly string[]) => Promise<string>, dir: string): Promise<void> {
  for (const [index, image] of BASE_IMAGES.entries()) {
    const root = join(dir, `base-${index}`)
    await layOut(image, root)
    const archive = `${root}.tar`
    await command('tar', ['--create', '--file', archive, '--owner=0', '--group=0', '--directory', root, ...readdirSync(root)])
    await docker(['import', ...image.changes.flatMap((change) => ['--change', change]), archive, image.name])
  }
}

async function layOut({ programs, files = {} }: BaseImage, root: string): Promise<void> {
  for (const folder of LIBRARY_FOLDERS) {
    mkdirSync(join(root, 'usr', folder), { recursive: true })
    symlinkSync(`usr/${folder}`, join(root, folder))
  }
  mkdirSync(join(root, 'tmp'), { mode: 0o777 })
  for (const { from, to } of programs) {
    for (const library of await librariesOf(from)) copy(library, join(root, library))
    if (to !== '') copy(from, join(root, to))
  }
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), text)
  }
}

function copy(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true })
  copyFileSync(from, to)
}

/** The libraries that a program loads, by the absolute names it finds them at. */
async function librariesOf(program: string): Promise<string[]> {
  const lines = (await command('ldd', [program])).split('\n')
  return lines.flatMap((line) => /(\/\S+) \(0x/.exec(line)?.[1] ?? [])
}
