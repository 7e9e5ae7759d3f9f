import assert from 'node:assert/strict'
import { test } from 'node:test'
import { toldError } from '@layerswarm/core/api/local-api.ts'
import { describeError, type ErrorCode, LayerswarmError } from '@layerswarm/core/errors.ts'
import { reported } from '../src/agent-client.ts'

const failures: readonly Error[] = [
  new LayerswarmError('CONTAINERD_FAILED'),
  new LayerswarmError('CONTAINERD_FAILED', { detail: 'there is none on this host' }),
  new LayerswarmError('CONTAINERD_FAILED', { cause: new Error('connect ENOENT /run/containerd/containerd.sock') }),
  new LayerswarmError('REGISTRY_UNREACHABLE', { detail: 'registry.example.com (of two)', cause: new Error('ECONNREFUSED') }),
  new LayerswarmError('REGISTRY_UNREACHABLE', { cause: new Error('reset (by peer)') }),
  new LayerswarmError('STORE_FAILED', { detail: 'a', cause: new LayerswarmError('STORE_FULL', { detail: 'b', cause: new Error('c') }) })
]

test('what failed in the agent reads here as it does there', () => {
  for (const failure of failures) {
    const told = toldError(failure)
    const here = reported({ error: told })
    assert.equal(describeError(here), describeError(failure))
    assert.ok(here instanceof LayerswarmError)
    assert.equal(here.code, told.code as ErrorCode)
  }
  assert.equal(describeError(reported({ error: { code: 'NEWER', message: 'of another version', remedy: '' } })), 'of another version')
})
