import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ContentInfo, ImageRecord } from '../../src/containerd/client.ts'
import { imageOf, keptBy } from '../../src/containerd/inventory.ts'

const DIGEST = `sha256:${'a'.repeat(64)}`

function image(name: string, digest = DIGEST): ImageRecord {
  return { name, labels: {}, target: { media_type: 'application/vnd.oci.image.index.v1+json', digest, size: 7 } }
}

test('an image keeps what labels name from its target on, and nothing else', () => {
  const info = (digest: string, labels: Record<string, string> = {}): ContentInfo => ({ digest, size: 1, labels })
  const kept = keptBy(
    [image('docker.io/library/app:1', 'index')],
    [
      info('index', { 'containerd.io/gc.ref.content.m.0': 'manifest', 'containerd.io/gc.ref.content.m.1': 'of another platform' }),
      // As with discard_unpacked_layers: the layer has no label.
      info('manifest', { 'containerd.io/gc.ref.content.config': 'config', 'containerd.io/distribution.source.docker.io': 'layer' }),
      info('config', { 'containerd.io/gc.ref.snapshot.overlayfs': 'layer' }),
      info('layer'),
      info('of a pull', { 'containerd.io/gc.ref.content': 'layer' })
    ]
  )
  assert.deepEqual([...kept], ['index', 'manifest', 'config'])
})

test('full references are images, by tag or by digest; ids and short names are not', () => {
  const named = (name: string) => {
    const found = imageOf(image(name))
    return found && [found.scope, found.tag, found.root.digest]
  }
  assert.deepEqual(named('docker.io/library/app:1'), ['docker.io/library/app', '1', DIGEST])
  assert.deepEqual(named('127.0.0.1:5000/team/app:1'), ['127.0.0.1:5000/team/app', '1', DIGEST])
  assert.deepEqual(named(`registry.k8s.io/pause@${DIGEST}`), ['registry.k8s.io/pause', undefined, DIGEST])
  for (const name of [DIGEST, 'app:1', 'Not A Name', 'import-2026-11-24@sha256:1']) assert.equal(named(name), undefined, name)
  assert.equal(imageOf(image('docker.io/library/app:1', 'md5:1')), undefined)
  assert.equal(imageOf({ ...image('docker.io/library/app:1'), target: null }), undefined)
})
