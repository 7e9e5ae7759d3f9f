import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type ErrorCode, isLayerswarmError } from '@layerswarm/core/errors.ts'
import { parseTarget, type Target } from '../../src/mirror/request-target.ts'

const D = `sha256:${'a'.repeat(64)}`
const D512 = `sha512:${'b'.repeat(128)}`

/** The parts of a target that a table compares. */
function short(target: Target): string {
  if (!('repository' in target)) return target.type
  const what = 'digest' in target ? target.digest : target.type === 'manifest' ? Object.values(target.reference)[0] : ''
  return `${target.type} ${target.registry} ${target.repository} ${what}`.trimEnd()
}

describe('what a path asks for', () => {
  for (const [url, expected] of [
    ['/v2', 'version'],
    ['/v2/', 'version'],
    ['/v2/?ns=docker.io', 'version'],
    ['/v2/library/app/manifests/1.0', 'manifest docker.io library/app 1.0'],
    ['/v2/app/manifests/1.0', 'manifest docker.io library/app 1.0'],
    [`/v2/library/app/manifests/${D}`, `manifest docker.io library/app ${D}`],
    [`/v2/library/app/blobs/${D}`, `blob docker.io library/app ${D}`],
    [`/v2/library/app/blobs/${D512}`, `blob docker.io library/app ${D512}`],
    [`/v2/library/app/blobs/${D.replace(':', '%3A')}`, `blob docker.io library/app ${D}`],
    [`/v2/team/app/blobs/${D}?ns=registry.example.com%3A5000`, `blob registry.example.com:5000 team/app ${D}`],
    [`/v2/team/app/blobs/${D}?ns=Registry.Example.com`, `blob registry.example.com team/app ${D}`],
    [`/v2/app/blobs/${D}?ns=%5B::1%5D:5000`, `blob [::1]:5000 app ${D}`],
    [`/v2/quay.io/team/app/blobs/${D}`, `blob quay.io team/app ${D}`],
    [`/v2/127.0.0.1_5000/team/app/blobs/${D}`, `blob 127.0.0.1:5000 team/app ${D}`],
    [`/v2/localhost/app/blobs/${D}`, `blob localhost app ${D}`],
    [`/v2/registry_5000/app/blobs/${D}`, `blob registry:5000 app ${D}`],
    [`/v2/docker.io/app/blobs/${D}`, `blob docker.io library/app ${D}`],
    [`/v2/quay.io/team/app/blobs/${D}?ns=ghcr.io`, `blob ghcr.io quay.io/team/app ${D}`],
    ['/v2/a/manifests/blobs/manifests/1', 'manifest docker.io a/manifests/blobs 1'],
    [`/v2/manifests/manifests/blobs/${D}`, `blob docker.io manifests/manifests ${D}`],
    ['/v2/blobs/manifests/manifests/manifests', 'manifest docker.io blobs/manifests manifests'],
    ['/v2/a/b/tags/list?n=5', 'tags docker.io a/b'],
    [`/v2/a/b/referrers/${D}?artifactType=x`, `referrers docker.io a/b ${D}`],
    ['/v2/a/b/blobs/uploads/', 'upload docker.io a/b'],
    ['/v2/r.example.com/blobs/uploads/blobs/uploads', 'upload r.example.com blobs/uploads'],
    ['/v2/a/b/blobs/uploads/1234-5678?ns=r.example.com', 'upload r.example.com a/b'],
    ['/v2/_catalog', 'unknown'],
    ['/v2/a/b', 'unknown'],
    [`/v2/a/blobs/${D}/`, 'unknown'],
    ['/v2/a/b/tags/other', 'unknown'],
    ['/v1/search', 'unknown'],
    ['/', 'unknown'],
    ['/v2x/', 'unknown'],
    ['*', 'unknown'],
    ['http://registry.example.com/v2/library/app/manifests/1', 'unknown'],
    ['//v2/library/app/manifests/1', 'unknown']
  ] as const) {
    test(url.slice(0, 60), () => assert.equal(short(parseTarget(url)), expected))
  }
})

describe('what a path may not be', () => {
  for (const [url, code] of [
    ['/v2/../manifests/1', 'NAME_INVALID'],
    ['/v2/a/../b/manifests/1', 'NAME_INVALID'],
    ['/v2/%2e%2e/b/manifests/1', 'NAME_INVALID'],
    ['/v2/a%2F..%2Fb/manifests/1', 'NAME_INVALID'],
    ['/v2/a%00b/manifests/1', 'NAME_INVALID'],
    ['/v2/a%zz/manifests/1', 'NAME_INVALID'],
    ['/v2/a%ff/manifests/1', 'NAME_INVALID'],
    ['/v2/A/manifests/1', 'NAME_INVALID'],
    ['/v2/a_/manifests/1', 'NAME_INVALID'],
    ['/v2/a..b/manifests/1', 'NAME_INVALID'],
    ['/v2//manifests/1', 'NAME_INVALID'],
    ['/v2/a//b/manifests/1', 'NAME_INVALID'],
    ['/v2/manifests/1', 'NAME_INVALID'],
    [`/v2/${'a/'.repeat(150)}b/manifests/1`, 'NAME_INVALID'],
    [`/v2/${'a'.repeat(20_000)}/manifests/1`, 'NAME_INVALID'],
    ['/v2/a/blobs/latest', 'DIGEST_INVALID'],
    ['/v2/a/blobs/sha256:abc', 'DIGEST_INVALID'],
    [`/v2/a/blobs/sha256:${'A'.repeat(64)}`, 'DIGEST_INVALID'],
    [`/v2/a/blobs/md5:${'a'.repeat(32)}`, 'DIGEST_INVALID'],
    ['/v2/a/blobs/..%2f..%2fetc%2fpasswd', 'DIGEST_INVALID'],
    ['/v2/a/manifests/sha256:zz', 'DIGEST_INVALID'],
    ['/v2/a/referrers/x', 'DIGEST_INVALID'],
    ['/v2/a/manifests/.INVALID', 'MANIFEST_UNKNOWN'],
    [`/v2/a/manifests/${'t'.repeat(129)}`, 'MANIFEST_UNKNOWN'],
    ['/v2/a/manifests/', 'MANIFEST_UNKNOWN'],
    ['/v2/a/manifests/1?ns=', 'NAMESPACE_INVALID'],
    ['/v2/a/manifests/1?ns=docker.io&ns=docker.io', 'NAMESPACE_INVALID'],
    ['/v2/a/manifests/1?ns=docker.io&ns=', 'NAMESPACE_INVALID'],
    ['/v2/a/manifests/1?ns=user:pass@host', 'REGISTRY_NOT_ALLOWED'],
    ['/v2/a/manifests/1?ns=host/path', 'REGISTRY_NOT_ALLOWED'],
    ['/v2/a/manifests/1?ns=http://host', 'REGISTRY_NOT_ALLOWED'],
    ['/v2/a/manifests/1?ns=a%0d%0ab', 'REGISTRY_NOT_ALLOWED']
  ] as const satisfies readonly (readonly [string, ErrorCode])[]) {
    test(`${url.slice(0, 60)} is ${code}`, () => {
      assert.throws(
        () => short(parseTarget(url)),
        (error) => isLayerswarmError(error, code)
      )
    })
  }
})
