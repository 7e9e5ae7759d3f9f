import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chmod, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { promisify } from 'node:util'
import { StoredCredentials } from '@layerswarm/agent/registry/stored-credentials.ts'
import { describeError } from '@layerswarm/core/errors.ts'
import { ManualClock } from '@layerswarm/testkit/manual-clock.ts'
import { assertCode } from './support.ts'

const SECRET = 'dont-tell-me'
const FOUND = { kind: 'password', username: 'sam', password: SECRET } as const

/** Files of credentials and helper programs in a folder of their own. */
class Desk implements AsyncDisposable {
  readonly clock = new ManualClock()
  readonly lines: string[] = []
  readonly credentials: StoredCredentials
  readonly #dir: string

  private constructor(dir: string, named: string | undefined) {
    this.#dir = dir
    this.credentials = new StoredCredentials(
      { clock: this.clock, log: { warn: (...line: unknown[]) => this.lines.push(JSON.stringify(line)) } },
      {
        named: named === undefined ? undefined : join(dir, named),
        files: ['first.json', 'second.json'].map((name) => join(dir, name)),
        env: { PATH: `${dir}:${process.env.PATH}`, DESK: dir }
      }
    )
  }

  static async open(files: Readonly<Record<string, object | string>>, named?: string): Promise<Desk> {
    const desk = new Desk(await mkdtemp(join(tmpdir(), 'layerswarm-desk-')), named)
    for (const [name, content] of Object.entries(files)) await desk.write(name, content)
    return desk
  }

  /** Replaced at once, as tools do. */
  async write(name: string, content: object | string): Promise<void> {
    const text = typeof content === 'string' ? content : JSON.stringify(content)
    await writeFile(join(this.#dir, 'new'), text)
    await rename(join(this.#dir, 'new'), join(this.#dir, name))
  }

  async pipe(name: string): Promise<void> {
    await promisify(execFile)('mkfifo', [join(this.#dir, name)])
  }

  /** A helper, as a shell script that also notes what it was asked for. */
  async helper(name: string, script: string): Promise<void> {
    const path = join(this.#dir, `docker-credential-${name}`)
    await writeFile(path, `#!/bin/sh\nread -r server\necho "$1 $server" >>"$DESK/asked"\n${script}\n`)
    await chmod(path, 0o755)
  }

  async asked(): Promise<string[]> {
    const text = await readFile(join(this.#dir, 'asked'), 'utf8').catch(() => '')
    return text.split('\n').filter((line) => line !== '')
  }

  find(registry: string, repository = 'team/app') {
    return this.credentials.find(registry, repository)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.credentials[Symbol.asyncDispose]()
    await rm(this.#dir, { recursive: true })
  }
}

const entry = (username: string, password = SECRET) => ({ auth: Buffer.from(`${username}:${password}`).toString('base64') })
const reply = (Username: string, Secret: string) => `echo '${JSON.stringify({ ServerURL: 'r.example', Username, Secret })}'`

suite('files', () => {
  test('the first that has an entry counts, a named one before all', async () => {
    const second = { auths: { 'r.example': entry('second'), 's.example': entry('sam') } }
    const first = { auths: { 'r.example': entry('first') } }
    await using desk = await Desk.open(
      { 'second.json': second, 'first.json': first, 'named.json': { auths: { 'r.example/team': entry('named') } } },
      'named.json'
    )
    assert.deepEqual(await desk.find('r.example', 'team/app'), { ...FOUND, username: 'named' })
    assert.deepEqual(await desk.find('r.example', 'app'), { ...FOUND, username: 'first' })
    assert.deepEqual(await desk.find('s.example'), FOUND)
    assert.equal(await desk.find('t.example'), undefined)
    assert.deepEqual(desk.lines, [])
  })

  test('one-component names of Docker Hub lie under library', async () => {
    await using desk = await Desk.open({ 'first.json': { auths: { 'docker.io/library': entry('sam') } } })
    assert.deepEqual(await desk.find('docker.io', 'nginx'), FOUND)
    assert.equal(await desk.find('docker.io', 'team/nginx'), undefined)
  })

  test('one that changes, appears or goes is seen within a second', async () => {
    await using desk = await Desk.open({})
    assert.equal(await desk.find('r.example'), undefined)
    await desk.write('first.json', { auths: { 'r.example': entry('sam') } })
    assert.equal(await desk.find('r.example'), undefined)
    await desk.clock.advance(1000)
    assert.deepEqual(await desk.find('r.example'), FOUND)
    await desk.write('first.json', { auths: { 'r.example': entry('sam', 'other') } })
    await desk.clock.advance(1000)
    assert.deepEqual(await desk.find('r.example'), { ...FOUND, password: 'other' })
    await desk.write('first.json', {})
    await desk.clock.advance(1000)
    assert.equal(await desk.find('r.example'), undefined)
  })

  test('one that is broken is told once, without its content, and the next one counts', async () => {
    const broken = `{"auths":{"r.example":${JSON.stringify(entry('sam'))}`
    await using desk = await Desk.open({ 'first.json': broken, 'second.json': { auths: { 'r.example': entry('sam') } } })
    for (let looks = 0; looks < 3; looks++) {
      assert.deepEqual(await desk.find('r.example'), FOUND)
      await desk.clock.advance(1000)
    }
    assert.equal(desk.lines.length, 1)
    assert.match(desk.lines[0] ?? '', /first\.json.*not valid JSON/)
    assert.ok(!desk.lines[0]?.includes(entry('sam').auth))
  })

  test('a pipe is not waited for, what is far too large not read', async () => {
    await using desk = await Desk.open({ 'second.json': ' '.repeat(4 * 1024 * 1024 + 1) })
    await desk.pipe('first.json')
    assert.equal(await desk.find('r.example'), undefined)
    assert.match(desk.lines.join(), /first\.json.*not a regular file.*second\.json.*larger than/)
  })

  test('one that was named and is not there is told', async () => {
    await using desk = await Desk.open({}, 'named.json')
    await desk.find('r.example')
    await desk.clock.advance(1000)
    await desk.find('r.example')
    assert.equal(desk.lines.length, 1)
    assert.match(desk.lines[0] ?? '', /named\.json.*ENOENT/)
  })
})

suite('helpers', () => {
  test('its own before the one for all before the file', async () => {
    const file = {
      auths: { 'r.example': entry('file'), 's.example': entry('file') },
      credHelpers: { 'r.example': 'own' },
      credsStore: 'all'
    }
    await using desk = await Desk.open({ 'first.json': file })
    await desk.helper('own', reply('own', SECRET))
    await desk.helper('all', "echo 'credentials not found in native keychain'; exit 1")
    assert.deepEqual(await desk.find('r.example'), { ...FOUND, username: 'own' })
    assert.deepEqual(await desk.find('s.example'), { ...FOUND, username: 'file' })
    assert.equal(await desk.find('t.example'), undefined)
    assert.deepEqual(await desk.asked(), ['get r.example', 'get s.example', 'get t.example'])
  })

  test('<token> is an identity token', async () => {
    await using desk = await Desk.open({ 'first.json': { credsStore: 'x' } })
    await desk.helper('x', reply('<token>', SECRET))
    assert.deepEqual(await desk.find('r.example'), { kind: 'identity', token: SECRET })
  })

  test('one answer serves all who ask at a time, and counts for a minute', async () => {
    await using desk = await Desk.open({ 'first.json': { credsStore: 'x' } })
    await desk.helper('x', reply('sam', SECRET))
    await Promise.all(Array.from({ length: 5 }, () => desk.find('r.example')))
    await desk.clock.advance(59_999)
    await desk.find('r.example')
    assert.equal((await desk.asked()).length, 1)
    await desk.clock.advance(1)
    await desk.find('r.example')
    assert.equal((await desk.asked()).length, 2)
  })

  test('that it has nothing counts for five seconds', async () => {
    await using desk = await Desk.open({ 'first.json': { credsStore: 'x' } })
    await desk.helper('x', "echo 'credentials not found in native keychain'; exit 1")
    assert.equal(await desk.find('r.example'), undefined)
    await desk.helper('x', reply('sam', SECRET))
    await desk.clock.advance(4_999)
    assert.equal(await desk.find('r.example'), undefined)
    await desk.clock.advance(1)
    assert.deepEqual(await desk.find('r.example'), FOUND)
  })

  const failures: [name: string, script: string][] = [
    ['fails', `echo "denied for ${SECRET}"; echo "${SECRET}" >&2; exit 1`],
    ['is killed', `echo ${SECRET}; kill -9 $$`],
    ['prints no JSON', `echo ${SECRET}`],
    ['prints other JSON', `echo '{"Secret":["${SECRET}"]}'`],
    ['prints without end', `while :; do echo ${SECRET}; done | head -c 300000`]
  ]
  for (const [name, script] of failures) {
    test(`one that ${name} is an error that repeats nothing`, async () => {
      await using desk = await Desk.open({ 'first.json': { credsStore: 'x' } })
      await desk.helper('x', script)
      await assertCode(desk.find('r.example'), 'REGISTRY_DENIED')
      const error = await desk.find('r.example').catch((error: unknown) => error)
      const told = [describeError(error), JSON.stringify(error), ...desk.lines].join('\n')
      assert.match(told, /docker-credential-x/)
      assert.ok(!told.includes(SECRET), told)
      assert.equal((await desk.asked()).length, 1)
      await desk.clock.advance(5_000)
      await assertCode(desk.find('r.example'), 'REGISTRY_DENIED')
      assert.equal(desk.lines.length, 1)
    })
  }

  test('one that is not installed is an error', async () => {
    await using desk = await Desk.open({ 'first.json': { credsStore: 'nowhere' } })
    await assert.rejects(desk.find('r.example'), { code: 'REGISTRY_DENIED', detail: 'docker-credential-nowhere is not installed' })
  })

  for (const name of ['../x', 'x;touch asked', 'a b', '$(x)']) {
    test(`the name ${name} is not run`, async () => {
      await using desk = await Desk.open({ 'first.json': { credsStore: name } })
      await desk.helper('x', reply('sam', SECRET))
      await assertCode(desk.find('r.example'), 'REGISTRY_DENIED')
      assert.deepEqual(await desk.asked(), [])
    })
  }

  test('one that hangs is ended after ten seconds', async () => {
    await using desk = await Desk.open({ 'first.json': { credsStore: 'x' } })
    await desk.helper('x', 'exec sleep 3600')
    await assert.rejects(desk.clock.runUntil(desk.find('r.example')), { code: 'REGISTRY_DENIED', detail: /took longer than 10 s/ })
    assert.equal(desk.clock.now(), 10_000)
  })

  test('one that runs does not outlive the agent', async () => {
    const desk = await Desk.open({ 'first.json': { credsStore: 'x' } })
    await desk.helper('x', 'exec sleep 3600')
    const asking = desk.find('r.example')
    const failed = assertCode(asking, 'STOPPING')
    while (desk.clock.sleeping === 0) await new Promise(setImmediate)
    await desk[Symbol.asyncDispose]()
    await failed
  })

  test('who goes away does not stop it for the others', async () => {
    await using desk = await Desk.open({ 'first.json': { credsStore: 'x' } })
    await desk.helper('x', reply('sam', SECRET))
    const gone = new AbortController()
    const first = desk.credentials.find('r.example', 'app', { signal: gone.signal })
    const second = desk.find('r.example')
    gone.abort(new Error('enough'))
    await assert.rejects(first, /enough/)
    assert.deepEqual(await second, FOUND)
    assert.equal((await desk.asked()).length, 1)
  })
})
