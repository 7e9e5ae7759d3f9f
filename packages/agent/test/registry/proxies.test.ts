import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { Proxies } from '@layerswarm/agent/registry/proxies.ts'
import { UndiciRegistryClient } from '@layerswarm/agent/registry/registry-client.ts'
import { isLayerswarmError } from '@layerswarm/core/errors.ts'

const PROXY = 'http://proxy.example:3128'

function proxied(env: Record<string, string>, url: string): string | undefined {
  return new Proxies(env).for(new URL(url))?.url.href
}

suite('NO_PROXY', () => {
  const table: [none: string, url: string, direct: boolean][] = [
    ['', 'https://r.example/v2/', false],
    ['*', 'https://r.example/', true],
    ['r.example', 'https://r.example/', true],
    ['R.Example', 'https://r.example/', true],
    ['r.example', 'https://sub.r.example/', true],
    ['r.example', 'https://other-r.example/', false],
    ['.r.example', 'https://sub.r.example/', true],
    ['.r.example', 'https://r.example/', false],
    ['*.r.example', 'https://a.b.r.example/', true],
    ['*.r.example', 'https://r.example/', false],
    ['r.example:5000', 'https://r.example:5000/', true],
    ['r.example:5000', 'https://r.example/', false],
    ['r.example:443', 'https://r.example/', true],
    ['.r.example:443', 'https://sub.r.example/', true],
    ['10.0.0.7', 'https://10.0.0.7:5000/', true],
    ['10.0.0.7:5000', 'https://10.0.0.7:5001/', false],
    ['10.0.0.0/8', 'https://10.20.30.40/', true],
    ['10.0.0.0/8', 'https://11.20.30.40/', false],
    ['10.0.0.0/8', 'https://ten.example/', false],
    ['10.0.0.0/33', 'https://10.0.0.1/', false],
    ['fd00::/8', 'https://[fd12::1]:5000/', true],
    ['[fd12::1]:5000', 'https://[fd12::1]:5000/', true],
    ['fd12::1', 'https://[fd12::1]/', true],
    ['fd12::1', 'https://[fd12::2]/', false],
    ['a.example, r.example b.example', 'https://r.example/', true],
    ['', 'https://localhost:5000/', true],
    ['', 'https://127.3.2.1/', true],
    ['', 'https://[::1]:5000/', true],
    ['', 'https://a.localhost/', true]
  ]
  for (const [none, url, direct] of table) {
    test(`${JSON.stringify(none)}: ${url} is reached ${direct ? 'directly' : 'through the proxy'}`, () => {
      assert.equal(proxied({ HTTPS_PROXY: PROXY, NO_PROXY: none }, url), direct ? undefined : `${PROXY}/`)
    })
  }
})

suite('variables', () => {
  test('each scheme has its own, upper case comes first, lower case counts', () => {
    assert.equal(proxied({ HTTPS_PROXY: PROXY }, 'http://r.example/'), undefined)
    assert.equal(proxied({ http_proxy: PROXY }, 'http://r.example/'), `${PROXY}/`)
    assert.equal(proxied({ https_proxy: 'http://low.example', HTTPS_PROXY: PROXY }, 'https://r.example/'), `${PROXY}/`)
    assert.equal(proxied({ https_proxy: PROXY, no_proxy: 'r.example' }, 'https://r.example/'), undefined)
    assert.equal(proxied({ HTTPS_PROXY: '', https_proxy: PROXY }, 'https://r.example/'), `${PROXY}/`)
  })

  test('an address without a scheme is one of plain HTTP', () => {
    assert.equal(proxied({ HTTPS_PROXY: 'proxy.example:3128' }, 'https://r.example/'), `${PROXY}/`)
  })

  test('user and password are for the proxy, decoded', () => {
    const proxy = new Proxies({ HTTPS_PROXY: 'http://sam:p%40ss@proxy.example' }).for(new URL('https://r.example/'))
    assert.deepEqual(proxy?.headers, { 'proxy-authorization': `Basic ${Buffer.from('sam:p@ss').toString('base64')}` })
    assert.deepEqual(new Proxies({ HTTPS_PROXY: PROXY }).for(new URL('https://r.example/'))?.headers, {})
  })

  for (const text of ['socks5://sam:secret@proxy.example', 'http://sam:sec%ret@proxy.example', 'http://sam:secret@:99999']) {
    test(`${text} is refused without being repeated`, () => {
      assert.throws(
        () => new Proxies({ HTTPS_PROXY: text }),
        (error) => isLayerswarmError(error, 'CONFIG_INVALID') && error.message.includes('HTTPS_PROXY') && !error.message.includes('sec')
      )
    })
  }

  test('a variable that is no address stops the client from being made', () => {
    const options = { registries: new Map(), userAgent: 'layerswarm/test', env: { HTTPS_PROXY: 'socks5://proxy.example' } }
    const log = { debug: () => undefined, warn: () => undefined }
    assert.throws(() => new UndiciRegistryClient({ log }, options), { code: 'CONFIG_INVALID' })
  })
})
