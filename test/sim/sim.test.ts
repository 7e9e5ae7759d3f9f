import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { EXPECTED, type Figures, figuresOf, ROUTINE } from './expected.ts'
import { World } from './world.ts'

/** How much worse a time may get before it counts: less than any rule of the policy is worth. */
const WORSE = 1.03
/** The same for copies that the registry sends. */
const MORE_COPIES = 0.01

const expected: Readonly<Record<string, Figures>> = JSON.parse(readFileSync(EXPECTED, 'utf8'))

describe('the scheduler and the planner do as well as they did', () => {
  test('in the same situations', () => {
    assert.deepEqual(Object.keys(expected), Object.keys(ROUTINE), 'run: node test/sim/run.ts --write')
  })

  for (const [name, scenario] of Object.entries(ROUTINE)) {
    test(name, () => {
      const before = expected[name]
      assert.ok(before)
      const now = figuresOf(new World(scenario).run())
      assert.ok(now.last <= before.last * WORSE, `the last host takes ${now.last} of the bound, not ${before.last}`)
      assert.ok(now.p50 <= before.p50 * WORSE, `half of the hosts take ${now.p50} of the bound, not ${before.p50}`)
      assert.ok(now.copies <= before.copies + MORE_COPIES, `the registry sends ${now.copies} copies, not ${before.copies}`)
    })
  }
})
