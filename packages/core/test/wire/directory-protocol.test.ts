import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isLayerswarmError } from '../../src/errors.ts'
import { type AgentMessage, agentMessage } from '../../src/wire/directory-protocol.ts'
import { decodeMessage, encodeCanonical } from '../../src/wire/frames.ts'
import { observeUpdate } from '../../src/wire/peer-protocol.ts'

const blob = `sha256:${'ab'.repeat(32)}`
const bytes = (length: number) => new Uint8Array(length)

function lease(sig: number) {
  return { blob, run: 0, holder: 'h', serial: 1, by: 'tracker', sig: bytes(sig) }
}

function claim(sig: number, leaseSig = 64) {
  return { blob, first: 0, hashes: bytes(32), author: 'h', lease: lease(leaseSig), sig: bytes(sig) }
}

function read(message: object): AgentMessage {
  return decodeMessage(agentMessage, encodeCanonical(message))
}

const refused = (error: unknown) => isLayerswarmError(error, 'PEER_PROTOCOL')

test('the root of a map is a hash, and nothing of another length', () => {
  assert.equal(read({ t: 'done', blob, size: 1, root: bytes(32) }).t, 'done')
  for (const length of [0, 31, 33, 1_000_000]) assert.throws(() => read({ t: 'done', blob, size: 1, root: bytes(length) }), refused)
})

test('what is no signature by its length is not taken in for one', () => {
  assert.equal(read({ t: 'evidence', blob, claims: [claim(64)] }).t, 'evidence')
  for (const bad of [claim(1_000_000), claim(64, 1_000_000)]) {
    assert.throws(() => read({ t: 'evidence', blob, claims: [bad] }), refused)
    assert.throws(() => decodeMessage(observeUpdate, encodeCanonical({ t: 'claims', blob, claims: [bad] })), refused)
  }
  assert.throws(() => read({ t: 'partial', blob, size: 1, bits: bytes(1), leases: [lease(129)] }), refused)
})
