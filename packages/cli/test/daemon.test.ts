import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { it } from 'node:test'

const DAEMON = new URL('../src/daemon.ts', import.meta.url).href

/** A process that runs a daemon whose closing is `dispose`; its timers do not run by themselves. */
function start(dispose: string): { child: ChildProcess; lines: AsyncIterator<string> } {
  const program = `
    import { mock } from 'node:test'
    import { runDaemon } from '${DAEMON}'
    const say = (...parts) => console.log(...parts)
    const log = { info: (...parts) => say(parts.at(-1)), warn: say }
    // A pipe to this process stands for whatever keeps a daemon alive.
    process.stdin.resume()
    mock.timers.enable({ apis: ['setTimeout'] })
    await runDaemon(log, async () => {
      say('started')
      return { [Symbol.asyncDispose]: async () => { ${dispose} } }
    })`
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: ['pipe', 'pipe', 'inherit'] })
  return { child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator]() }
}

async function read(lines: AsyncIterator<string>, ...expected: readonly string[]): Promise<void> {
  for (const line of expected) assert.equal((await lines.next()).value, line)
}

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  it(`closes what it runs on ${signal} and exits with 0`, async () => {
    const { child, lines } = start(`say('closing')`)
    await read(lines, 'started')
    child.kill(signal)
    await read(lines, 'stopping', 'closing', 'stopped')
    assert.deepEqual(await once(child, 'close'), [0, null])
  })
}

it('takes the same Ctrl-C from terminal and wrapper for one, and a later one as the order to end at once', async () => {
  const { child, lines } = start(`
    let now = performance.now()
    performance.now = () => now
    process.on('SIGINT', () => say('again'))
    process.stdin.on('data', () => { now += 1000; say('later') })
    say('closing')
    await new Promise(() => {})`)
  await read(lines, 'started')
  child.kill('SIGINT')
  await read(lines, 'stopping', 'closing')
  child.kill('SIGINT')
  await read(lines, 'again')
  child.stdin?.write('x')
  await read(lines, 'later')
  child.kill('SIGINT')
  assert.deepEqual(await once(child, 'close'), [130, null])
})

it('ends within ten seconds although something does not close', async () => {
  const { child, lines } = start(`
    mock.timers.tick(8_000)
    say('waiting')
    mock.timers.tick(1_500)`)
  await read(lines, 'started')
  child.kill('SIGTERM')
  await read(lines, 'stopping', 'waiting', 'not everything closed in time')
  assert.deepEqual(await once(child, 'close'), [0, null])
})

it('does not call that done which has failed while something does not close', async () => {
  const { child, lines } = start(`
    process.exitCode = 1
    mock.timers.tick(9_500)`)
  await read(lines, 'started')
  child.kill('SIGTERM')
  await read(lines, 'stopping', 'not everything closed in time')
  assert.deepEqual(await once(child, 'close'), [1, null])
})
