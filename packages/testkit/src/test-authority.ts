import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** A certificate and its key, as PEM. */
export interface IssuedCertificate {
  readonly cert: string
  readonly key: string
}

/** A certificate authority of a test's own (openssl). */
export class TestAuthority implements AsyncDisposable {
  /** PEM. */
  readonly cert: string
  /** Holds `ca.crt` and `ca.key`. */
  readonly dir: string
  #issued = 0

  private constructor(dir: string, cert: string) {
    this.dir = dir
    this.cert = cert
  }

  /** @throws {Error} when openssl is missing */
  static async create(): Promise<TestAuthority> {
    const dir = await mkdtemp(join(tmpdir(), 'layerswarm-authority-'))
    const extensions = ['-addext', 'keyUsage=critical,keyCertSign', '-addext', 'basicConstraints=critical,CA:TRUE']
    await openssl(dir, 'req', '-x509', ...newKey('ca.key'), '-out', 'ca.crt', '-subj', '/CN=test authority', '-days', '2', ...extensions)
    return new TestAuthority(dir, await readFile(join(dir, 'ca.crt'), 'utf8'))
  }

  /** @param names host names and addresses; the first is the common name */
  async issue(...names: readonly string[]): Promise<IssuedCertificate> {
    const id = `cert-${++this.#issued}`
    const alternatives = names.map((name) => `${isIP(name) === 0 ? 'DNS' : 'IP'}:${name}`).join()
    await writeFile(join(this.dir, `${id}.ext`), `subjectAltName=${alternatives}\nextendedKeyUsage=serverAuth,clientAuth\n`)
    await openssl(this.dir, 'req', '-new', ...newKey(`${id}.key`), '-out', `${id}.csr`, '-subj', `/CN=${names[0]}`)
    const signed = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', `${id}.ext`]
    await openssl(this.dir, 'x509', '-req', '-in', `${id}.csr`, '-out', `${id}.crt`, ...signed)
    const [cert, key] = await Promise.all(['crt', 'key'].map((ending) => readFile(join(this.dir, `${id}.${ending}`), 'utf8')))
    return { cert: cert ?? '', key: key ?? '' }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.dir, { recursive: true, force: true })
  }
}

function newKey(file: string): string[] {
  return ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', file]
}

async function openssl(cwd: string, ...args: readonly string[]): Promise<void> {
  await run('openssl', [...args], { cwd })
}
