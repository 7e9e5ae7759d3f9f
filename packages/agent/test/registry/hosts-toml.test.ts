import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { readHostsToml, type TlsPaths } from '@layerswarm/agent/registry/hosts-toml.ts'

const NOTHING: TlsPaths = { ca: [], client: [], skipVerify: false }

function read(toml: string, hosts = ['r.example:5000']): TlsPaths {
  return readHostsToml(toml, hosts, '/certs/r.example_5000_/hosts.toml')
}

suite('hosts.toml', () => {
  const table: [name: string, toml: string, want: Partial<TlsPaths>][] = [
    ['nothing', '', {}],
    ['one authority, relative', 'ca = "ca.pem"', { ca: ['/certs/r.example_5000_/ca.pem'] }],
    ['several', 'ca = ["/a.pem", "b.pem"]', { ca: ['/a.pem', '/certs/r.example_5000_/b.pem'] }],
    ['certificate and key in one file', 'client = "/c.pem"', { client: [{ cert: '/c.pem', key: '/c.pem' }] }],
    [
      'a list of files',
      'client = ["/c.pem", "/d.pem"]',
      {
        client: [
          { cert: '/c.pem', key: '/c.pem' },
          { cert: '/d.pem', key: '/d.pem' }
        ]
      }
    ],
    [
      'pairs',
      'client = [["/c.cert", "/c.key"], ["/d.pem", ""]]',
      {
        client: [
          { cert: '/c.cert', key: '/c.key' },
          { cert: '/d.pem', key: '/d.pem' }
        ]
      }
    ],
    ['skip_verify', 'skip_verify = true', { skipVerify: true }],
    ['the root belongs to its server', 'server = "https://r.example:5000"\nca = "/a.pem"', { ca: ['/a.pem'] }],
    ['another server', 'server = "https://mirror.example"\nca = "/a.pem"\nskip_verify = true', {}],
    ['its own host table', '[host."https://r.example:5000"]\nca = "/a.pem"\nskip_verify = true', { ca: ['/a.pem'], skipVerify: true }],
    ['a host table without a scheme', '[host."r.example:5000"]\nca = "/a.pem"', { ca: ['/a.pem'] }],
    ['a mirror', '[host."http://127.0.0.1:5050"]\nskip_verify = true\nca = "/a.pem"', {}],
    ['another port', '[host."https://r.example"]\nca = "/a.pem"', {}],
    ['plain HTTP', '[host."http://r.example:5000"]\nca = "/a.pem"', {}],
    ['values of other kinds', 'ca = 7\nclient = { a = 1 }\nskip_verify = "yes"\nhost = 3', {}]
  ]
  for (const [name, toml, want] of table) test(name, () => assert.deepEqual(read(toml), { ...NOTHING, ...want }))

  test('Docker Hub is known by both of its names', () => {
    const hosts = ['docker.io', 'registry-1.docker.io']
    assert.deepEqual(read('server = "https://registry-1.docker.io"\nca = "/a.pem"', hosts).ca, ['/a.pem'])
    assert.deepEqual(read('server = "https://docker.io"\nca = "/a.pem"', hosts).ca, ['/a.pem'])
  })

  test('what is no TOML fails, in one line', () => {
    assert.throws(
      () => read('ca = '),
      (error: Error) => !error.message.includes('\n')
    )
  })
})
