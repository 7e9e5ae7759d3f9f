import { SCENARIOS } from './scenarios.ts'
import type { Outcome, Scenario } from './world.ts'

/** Hosts up to which a scenario runs with every test run; larger fleets take minutes. */
const ROUTINE_HOSTS = 200

/** The scenarios that the tests run. */
export const ROUTINE: Readonly<Record<string, Scenario>> = Object.fromEntries(
  Object.entries(SCENARIOS).filter(([, { hosts }]) => hosts <= ROUTINE_HOSTS)
)

/** Where their figures are kept. */
export const EXPECTED = new URL('expected.json', import.meta.url)

/** What the policy is judged by: times over the bound, and bytes of the registry over those of the content. */
export type Figures = Pick<Outcome, 'last' | 'p50' | 'copies'>

export function figuresOf({ last, p50, copies }: Outcome): Figures {
  const rounded = (value: number) => Math.round(value * 10_000) / 10_000
  return { last: rounded(last), p50: rounded(p50), copies: rounded(copies) }
}
