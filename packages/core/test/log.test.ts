import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { test } from 'node:test'
import { LayerswarmError } from '../src/errors.ts'
import { createLogger, type LogFormat, shortDigest } from '../src/log.ts'

function capture(format: LogFormat): { log: ReturnType<typeof createLogger>; text: () => string } {
  let text = ''
  const destination = new Writable({
    write(chunk, _encoding, done) {
      text += String(chunk)
      done()
    }
  })
  return { log: createLogger({ format, name: 'agent', destination }), text: () => text }
}

test('a line is JSON with a time, a level by name and the fields', () => {
  const { log, text } = capture('json')
  log.info({ status: 200 }, 'blob')
  log.debug('not at this level')
  const line = JSON.parse(text())
  assert.equal(line.level, 'info')
  assert.equal(line.name, 'agent')
  assert.equal(line.status, 200)
  assert.equal(line.msg, 'blob')
  assert.ok(!Number.isNaN(Date.parse(line.time)))
})

test('secrets never reach a line, at any of three depths', () => {
  const { log, text } = capture('json')
  log.info({
    token: 'SECRET-1',
    headers: { authorization: 'SECRET-2', 'set-cookie': 'SECRET-3' },
    request: { headers: { authorization: 'SECRET-4', 'proxy-authorization': 'SECRET-5' }, body: { password: 'SECRET-6' } }
  })
  assert.doesNotMatch(text(), /SECRET/)
  assert.equal(JSON.parse(text()).headers.authorization, '[secret]')
})

test('nor by what a logger is bound to, nor in lists; what was logged is left as it is', () => {
  const { log, text } = capture('json')
  const headers = [{ name: 'x', token: 'SECRET-1' }]
  log
    .child({ auth: 'SECRET-2', part: 'one' })
    .child({ credentials: { user: 'SECRET-3' }, other: 'two' })
    .info({ headers }, 'asked')
  assert.doesNotMatch(text(), /SECRET/)
  const line = JSON.parse(text())
  assert.deepEqual([line.part, line.other, line.auth], ['one', 'two', '[secret]'])
  assert.deepEqual(line.headers, [{ name: 'x', token: '[secret]' }])
  assert.equal(headers[0]?.token, 'SECRET-1')
})

test('an error shows its code, cause and remedy, and nothing else that hangs on it', () => {
  const { log, text } = capture('json')
  const cause = Object.assign(new Error('socket hang up'), { request: { headers: 'SECRET' } })
  log.warn({ err: new LayerswarmError('REGISTRY_FAILED', { detail: 'status 500', cause }) }, 'gave up')
  const { err } = JSON.parse(text())
  assert.equal(err.code, 'REGISTRY_FAILED')
  assert.equal(err.message, 'the registry failed: status 500 (socket hang up)')
  assert.match(err.remedy, /try again/)
  assert.doesNotMatch(text(), /SECRET/)
})

test('the pretty format is for people', () => {
  const { log, text } = capture('pretty')
  log.info({ digest: 'sha256:abc' }, 'served')
  assert.match(text(), /INFO.*served/)
  assert.match(text(), /digest: "sha256:abc"/)
})

test('a digest is shortened to its algorithm and twelve digits', () => {
  assert.equal(shortDigest(`sha256:${'0123456789abcdef'.repeat(4)}`), 'sha256:0123456789ab')
  assert.equal(shortDigest(`sha512:${'f'.repeat(128)}`), 'sha512:ffffffffffff')
})
