import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { ContentIndex } from '@layerswarm/agent/ports.ts'
import type { Descriptor } from '@layerswarm/core/image/manifest.ts'
import { fixtureBlob } from '../blob-fixtures.ts'

function descriptorOf(size: number): Descriptor {
  return { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest: fixtureBlob(size).digest, size }
}

/** What every {@link ContentIndex} does. `open` gives a fresh, empty one. */
export function contentIndexConformance(name: string, open: () => Promise<AsyncDisposable & { readonly index: ContentIndex }>): void {
  describe(`content index conformance: ${name}`, () => {
    test('everything that was recorded is listed, scope by scope', async () => {
      await using opened = await open()
      const { index } = opened
      const [one, two] = [descriptorOf(1), descriptorOf(2)]
      assert.deepEqual(await Array.fromAsync(index.tags()), [])
      assert.deepEqual(await Array.fromAsync(index.allLinks()), [])
      await index.link('localhost:5000/b', [two])
      await index.link('localhost:5000/a', [one, two])
      await index.setTag('localhost:5000/b', 'latest', two)
      await index.setTag('localhost:5000/a', '2', one)
      await index.setTag('localhost:5000/a', '10', one)
      await index.setTag('localhost:5000/a', '2', two)
      assert.deepEqual(await Array.fromAsync(index.tags()), [
        { scope: 'localhost:5000/a', tag: '10', descriptor: one },
        { scope: 'localhost:5000/a', tag: '2', descriptor: two },
        { scope: 'localhost:5000/b', tag: 'latest', descriptor: two }
      ])
      const links = await Array.fromAsync(index.allLinks())
      assert.deepEqual(
        links.map(({ scope }) => scope),
        ['localhost:5000/a', 'localhost:5000/a', 'localhost:5000/b']
      )
      assert.deepEqual(new Set(links.slice(0, 2).map(({ descriptor }) => descriptor.digest)), new Set([one.digest, two.digest]))
      assert.deepEqual(links[2]?.descriptor, two)
    })

    test('what is listed may be left halfway', async () => {
      await using opened = await open()
      await opened.index.link('a/b', [descriptorOf(1), descriptorOf(2)])
      for await (const { scope } of opened.index.allLinks()) {
        assert.equal(scope, 'a/b')
        break
      }
      assert.equal((await Array.fromAsync(opened.index.allLinks())).length, 2)
    })
  })
}
