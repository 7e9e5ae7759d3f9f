/**
 * Seeds: an image is brought to chosen hosts ahead of use. On a tracker's HTTP address. What changes something needs
 * `Authorization: Bearer TOKEN` with the token that lies in the tracker's data directory, and from a browser the
 * tracker's own Origin.
 *
 * `POST /v1/seed {image, hosts?, platforms?, containerd?}` begins one: 201 and `{joined: false, seed}`, or 200 and
 * `{joined: true, seed}` when the same one runs already. hosts: whom to choose, a list; all of the fleet where it is absent
 *   `all`; `12` or `25%`: so many, the same ones each time, from all zones; `zone:NAME`; `NAME`, or `name:NAME`: one host, or
 *   a peer id. Names and zones add up, a number or percentage is taken out of them. Hosts that left in the last 10 min are
 *   part of `all` and of zones. platforms, containerd: as for a pull
 * `GET /v1/seed`: `{seeds: [seed…]}` without their hosts, latest first
 * `GET /v1/seed/ID`: a seed with its hosts; with `?since=REVISION` only those that changed after that revision
 * `DELETE /v1/seed/ID` cancels it: what has arrived stays
 *   seed: {id, image, hosts, platforms?, containerd?, state, startedAt, seconds, states, size, counts, digests, stale, copies}
 *                         hosts: as asked for; state: running, done, failed (some host did) or cancelled; startedAt: ISO 8601;
 *                         states: how many hosts are in each state; size: bytes of the image on all hosts that know it yet;
 *                         counts: bytes on them, as for a pull; digests: what the image's name meant, one unless the tag moved;
 *                         stale: hosts that could not ask the registry for the tag, and have what it pointed to before;
 *                         copies: bytes from the registry ÷ bytes of the image, the platforms of the fleet each once
 *   with its hosts also {revision, targets: [{number, name, id?, zone, state, size, counts, digest?, stale?, error?}]}
 *                         number: by which the seed knows it, from 0; id: absent for a name that no host has; state: waiting
 *                         (not connected), queued, fetching, done, here (it had all of it, and so had its containerd where
 *                         that was asked for), failed or cancelled; size: 0 until it is known; error: see the pull
 * A host that is away for 20 s fails; one that comes back while the seed runs goes on. A tracker that is restarted goes on
 * with its seeds, and remembers those that ended.
 */
import { z } from 'zod'
import { LayerswarmError } from '../errors.ts'
import { digestField, nameField, sizeField } from '../wire/fields.ts'
import { errorReply, namespaceField, platformsField, referenceField, sourceCounts } from './local-api.ts'

export const SEED_PATH = '/v1/seed'

/** Hosts named one by one; more are a zone, a number, or all. */
const MAX_CHOICES = 1000

export const seedRequest = z.strictObject({
  image: referenceField,
  hosts: z.array(z.string().min(1).max(300)).min(1).max(MAX_CHOICES).optional(),
  platforms: platformsField.optional(),
  containerd: namespaceField.optional()
})
export type SeedRequest = z.infer<typeof seedRequest>

export const TARGET_STATES = ['waiting', 'queued', 'fetching', 'done', 'here', 'failed', 'cancelled'] as const
export type TargetState = (typeof TARGET_STATES)[number]

export const seedTarget = z.object({
  number: sizeField,
  name: nameField,
  id: z.string().optional(),
  zone: nameField,
  state: z.enum(TARGET_STATES),
  size: sizeField,
  counts: sourceCounts,
  digest: digestField.optional(),
  stale: z.boolean().optional(),
  error: errorReply.shape.error.optional()
})
export type SeedTarget = z.infer<typeof seedTarget>

/** Of a fleet, whose hosts may each have as much as a size can say. */
const totalField = z.number().min(0)

export const seedSummary = z.object({
  id: z.string(),
  image: z.string(),
  hosts: z.array(z.string()),
  platforms: platformsField.optional(),
  containerd: z.string().optional(),
  state: z.enum(['running', 'done', 'failed', 'cancelled']),
  startedAt: z.string(),
  seconds: z.number().min(0),
  states: z.record(z.enum(TARGET_STATES), sizeField),
  size: totalField,
  counts: z.object({ local: totalField, peer: totalField, registry: totalField }),
  digests: z.array(digestField),
  stale: sizeField,
  copies: z.number().min(0)
})
export type SeedSummary = z.infer<typeof seedSummary>

export const seedDetail = seedSummary.extend({ revision: z.int().min(0), targets: z.array(seedTarget) })
export type SeedDetail = z.infer<typeof seedDetail>

export const seedBegun = z.object({ joined: z.boolean(), seed: seedSummary })
export const seedList = z.object({ seeds: z.array(seedSummary) })

/** Which hosts of a fleet are meant. */
export interface HostChoice {
  /** Names or peer ids. */
  readonly names: readonly string[]
  readonly zones: readonly string[]
  /** So many of those, or of all. */
  readonly limit: { readonly count: number } | { readonly percent: number } | undefined
}

/**
 * Reads what `hosts` says.
 * @throws {LayerswarmError} HOSTS_INVALID
 */
export function parseHostChoice(texts: readonly string[]): HostChoice {
  const names = new Set<string>()
  const zones = new Set<string>()
  const limits: NonNullable<HostChoice['limit']>[] = []
  let all = false
  for (const text of texts) {
    const [, percent] = /^(\d{1,3})%$/.exec(text) ?? []
    if (text === 'all') all = true
    else if (percent !== undefined) limits.push({ percent: within(Number(percent), 100, text) })
    else if (/^\d{1,9}$/.test(text)) limits.push({ count: within(Number(text), Number.MAX_SAFE_INTEGER, text) })
    else if (text.startsWith('zone:')) zones.add(named(text.slice('zone:'.length), text))
    else names.add(named(text.replace(/^name:/, ''), text))
  }
  if (all && names.size + zones.size > 0) throw new LayerswarmError('HOSTS_INVALID', { detail: 'all, and yet names or zones' })
  if (limits.length > 1) throw new LayerswarmError('HOSTS_INVALID', { detail: 'two numbers of hosts' })
  return { names: [...names], zones: [...zones], limit: limits[0] }
}

function within(value: number, most: number, text: string): number {
  if (value >= 1 && value <= most) return value
  throw new LayerswarmError('HOSTS_INVALID', { detail: text })
}

function named(name: string, text: string): string {
  if (/^\P{C}{1,255}$/u.test(name)) return name
  throw new LayerswarmError('HOSTS_INVALID', { detail: JSON.stringify(text.slice(0, 100)) })
}
