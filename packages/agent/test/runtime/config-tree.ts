import { chmodSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

/** A folder of configuration files that goes when the test ends. */
export class ConfigTree implements Disposable {
  readonly dir = mkdtempSync(join(tmpdir(), 'layerswarm-runtime-'))

  path(name: string): string {
    return join(this.dir, name)
  }

  write(name: string, text: string, mode = 0o644): void {
    mkdirSync(dirname(this.path(name)), { recursive: true })
    writeFileSync(this.path(name), text)
    chmodSync(this.path(name), mode)
  }

  makeDir(name: string): void {
    mkdirSync(this.path(name), { recursive: true })
  }

  read(name: string): string {
    return readFileSync(this.path(name), 'utf8')
  }

  /** Every path below the folder with what it is: mode and owner, and bytes of files, targets of links. */
  snapshot(): ReadonlyMap<string, string> {
    const names = readdirSync(this.dir, { recursive: true, encoding: 'utf8' }).sort()
    return new Map(
      names.map((name) => {
        const { mode, uid, gid } = lstatSync(this.path(name))
        const kind = mode & 0o170000
        const content = kind === 0o100000 ? this.read(name) : kind === 0o120000 ? readlinkSync(this.path(name)) : ''
        return [name, `${mode.toString(8)} ${uid}:${gid} ${content}`]
      })
    )
  }

  [Symbol.dispose](): void {
    rmSync(this.dir, { recursive: true, force: true })
  }
}
