import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isInsecureRegistry } from '../../src/runtime/insecure-registries.ts'

describe('docker takes for insecure', () => {
  for (const [what, registry, insecure, expected] of [
    ['what is named', 'r.example:5000', ['r.example:5000'], true],
    ['not another port of it', 'r.example', ['r.example:5000'], false],
    ['an address in a network', '10.1.2.3:5000', ['10.0.0.0/8'], true],
    ['not one outside of it', '11.1.2.3:5000', ['10.0.0.0/8'], false],
    ['an IPv6 address in a network', '[fd00::1]:5000', ['fd00::/8'], true],
    ['a name with an address in a network', 'localhost:5000', ['10.0.0.0/8', '::1/128'], true],
    ['this host, always', '127.0.0.1:5000', [], true],
    ['not a name that nobody named', 'registry.invalid', [], false],
    ['not a name without an address', 'registry.invalid', ['10.0.0.0/8'], false],
    ['nothing for a network that is none', '10.1.2.3', ['10.0.0.0/99', 'x/8'], false]
  ] as const) {
    it(what, async () => assert.equal(await isInsecureRegistry(registry, insecure), expected))
  }
})
