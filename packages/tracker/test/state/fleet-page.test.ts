import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isLayerswarmError } from '@layerswarm/core/errors.ts'
import { cursorAfter, type FleetPage, pageAt, partOf } from '../../src/state/fleet-page.ts'

const names = (count: number) => Array.from({ length: count }, (_, at) => `host-${String(at).padStart(3, '0')}`)

function parts(lists: Record<'hosts' | 'blobs' | 'leases', readonly string[]>, page: FleetPage) {
  const part = (list: keyof typeof lists) => partOf(lists[list], list, page, (name) => name)
  return { hosts: part('hosts'), blobs: part('blobs'), leases: part('leases') }
}

test('what is there all the time is on one page, whatever comes, goes and moves between them', () => {
  const lists = { hosts: names(25).reverse(), blobs: names(3), leases: [] as string[] }
  const seen = { hosts: [] as string[], blobs: [] as string[] }
  let cursor: string | undefined
  let pages = 0
  do {
    const found = parts(lists, pageAt(cursor, 10))
    seen.hosts.push(...found.hosts.entries)
    seen.blobs.push(...found.blobs.entries)
    cursor = cursorAfter(found)
    pages++
    // The last one that was told goes, another comes back and is last, and one joins that would have been told before.
    lists.hosts = [...lists.hosts.filter((host) => host !== found.hosts.last && host !== 'host-015'), 'host-015', 'host-000a']
  } while (cursor !== undefined)
  assert.equal(pages, 3)
  assert.deepEqual(seen.hosts, names(25))
  assert.deepEqual(seen.blobs, names(3))
})

test('a page that holds all is the last, and so is one that is just full', () => {
  const lists = { hosts: names(10), blobs: names(10), leases: names(10) }
  assert.equal(cursorAfter(parts(lists, pageAt(undefined, 10))), undefined)
  assert.ok(cursorAfter(parts(lists, pageAt(undefined, 9))))
})

test('a cursor that was not given out is refused', () => {
  for (const cursor of ['', 'nonsense', Buffer.from('["a","b"]').toString('base64url'), Buffer.from('[1,2,3]').toString('base64url')]) {
    assert.throws(
      () => pageAt(cursor),
      (error) => isLayerswarmError(error, 'REQUEST_INVALID')
    )
  }
})
