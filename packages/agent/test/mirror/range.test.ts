import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { contentRange, ifRangeHolds, MAX_PARTS, multipart, noneMatchNames, parseRange } from '../../src/mirror/range.ts'

const part = (start: number, end: number) => ({ type: 'part', range: { start, end } })
const whole = { type: 'whole' }
const unsatisfiable = { type: 'unsatisfiable' }

describe('a Range header on 1000 bytes', () => {
  for (const [header, expected] of [
    [undefined, whole],
    ['bytes=0-', part(0, 1000)],
    ['bytes=0-0', part(0, 1)],
    ['bytes=10-19', part(10, 20)],
    ['bytes=999-', part(999, 1000)],
    ['bytes=990-5000', part(990, 1000)],
    ['bytes=-1', part(999, 1000)],
    ['bytes=-5000', part(0, 1000)],
    ['Bytes = 5-6', part(5, 7)],
    ['bytes=5-6,', part(5, 7)],
    ['bytes=1000-', unsatisfiable],
    ['bytes=1000-1001', unsatisfiable],
    ['bytes=-0', unsatisfiable],
    ['bytes=500-0', unsatisfiable],
    ['bytes=99999999999999999999999-', unsatisfiable],
    ['bytes=0-99999999999999999999999', part(0, 1000)],
    ['items=0-5', whole],
    ['bytes', whole],
    ['bytes=', whole],
    ['bytes=,', whole],
    ['bytes=-', whole],
    ['bytes=a-b', whole],
    ['bytes=1-2-3', whole],
    ['bytes=--5', whole],
    ['bytes=0x1-2', whole],
    ['bytes=1.5-2', whole],
    ['bytes=0-5,x', whole],
    ['bytes=0-5,9-3', whole],
    [
      'bytes=0-1, 5-6',
      {
        type: 'parts',
        ranges: [
          { start: 0, end: 2 },
          { start: 5, end: 7 }
        ]
      }
    ],
    [
      'bytes=5-6,0-1,-1',
      {
        type: 'parts',
        ranges: [
          { start: 5, end: 7 },
          { start: 0, end: 2 },
          { start: 999, end: 1000 }
        ]
      }
    ],
    ['bytes=0-1,2000-', { type: 'parts', ranges: [{ start: 0, end: 2 }] }],
    ['bytes=2000-,3000-', whole],
    ['bytes=0-999,0-999', whole],
    [`bytes=${Array.from({ length: MAX_PARTS + 1 }, (_, at) => `${at}-${at}`).join(',')}`, whole]
  ] as const) {
    test(JSON.stringify(header?.slice(0, 40)), () => assert.deepEqual(parseRange(header, 1000), expected))
  }

  test('an empty blob has no range', () => {
    for (const header of ['bytes=0-', 'bytes=0-0', 'bytes=-1']) assert.deepEqual(parseRange(header, 0), unsatisfiable)
  })
})

test('what is asked for inside the content is given exactly, whatever the numbers', () => {
  fc.assert(
    fc.property(fc.nat(1_000_000), fc.nat(1_000_000), fc.nat(1_000_000), (size, first, length) => {
      const answer = parseRange(`bytes=${first}-${first + length}`, size)
      if (first >= size) return assert.deepEqual(answer, unsatisfiable)
      assert.deepEqual(answer, part(first, Math.min(first + length + 1, size)))
    })
  )
})

test('no header makes a range outside the content or more bytes than the content', () => {
  const spec = fc.oneof(
    fc.tuple(fc.nat(300), fc.nat(300)).map(([a, b]) => `${a}-${b}`),
    fc.nat(300).map((a) => `${a}-`),
    fc.nat(300).map((a) => `-${a}`),
    fc.string({ maxLength: 5 })
  )
  fc.assert(
    fc.property(fc.array(spec, { maxLength: 6 }), fc.nat(200), (specs, size) => {
      const answer = parseRange(`bytes=${specs.join(',')}`, size)
      const ranges = answer.type === 'part' ? [answer.range] : answer.type === 'parts' ? answer.ranges : []
      for (const { start, end } of ranges) assert.ok(start >= 0 && start < end && end <= size, `${start}-${end} of ${size}`)
      assert.ok(ranges.reduce((sum, { start, end }) => sum + end - start, 0) <= size)
    })
  )
})

test('the length of a multipart body is the length of its bytes', () => {
  const range = fc.tuple(fc.nat(500), fc.integer({ min: 1, max: 500 })).map(([start, length]) => ({ start, end: start + length }))
  fc.assert(
    fc.property(fc.array(range, { minLength: 1, maxLength: 5 }), (ranges) => {
      const body = multipart(ranges, 1000, 'application/octet-stream', 'xyz')
      const bytes = ranges.flatMap(({ start, end }, at) => [body.heads[at] ?? Buffer.alloc(0), Buffer.alloc(end - start)])
      assert.equal(Buffer.concat([...bytes, body.tail]).byteLength, body.contentLength)
      assert.equal(body.contentType, 'multipart/byteranges; boundary=xyz')
    })
  )
})

test('Content-Range counts the last byte in', () => assert.equal(contentRange({ start: 5, end: 10 }, 100), 'bytes 5-9/100'))

test('If-Range holds for the strong tag alone', () => {
  assert.ok(ifRangeHolds(undefined, '"a"'))
  assert.ok(ifRangeHolds('"a"', '"a"'))
  for (const other of ['"b"', 'W/"a"', 'Wed, 21 Oct 2015 07:28:00 GMT', '']) assert.ok(!ifRangeHolds(other, '"a"'), other)
})

test('If-None-Match is a list, compared weakly', () => {
  for (const header of ['"a"', '"b", "a"', 'W/"a"', '*']) assert.ok(noneMatchNames(header, '"a"'), header)
  for (const header of [undefined, '"b"', 'a', '']) assert.ok(!noneMatchNames(header, '"a"'), header)
})
