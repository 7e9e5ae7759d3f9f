import { SEED_PATH, seedRequest } from '@layerswarm/core/api/seed-api.ts'
import { LayerswarmError } from '@layerswarm/core/errors.ts'
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import type { Seeds } from '../seeds/seeds.ts'

const seedParams = z.object({ id: z.string() })
const seedQuery = z.strictObject({ since: z.coerce.number().int().min(0).optional() })

/** Seeds over HTTP; what may ask for a change is for the caller to check. */
export function addSeedRoutes(app: FastifyInstance, seeds: Pick<Seeds, 'begin' | 'cancel' | 'list' | 'view'>): void {
  app.get(SEED_PATH, () => ({ seeds: seeds.list() }))
  app.get(`${SEED_PATH}/:id`, (request) => seeds.view(read(seedParams, request.params).id, read(seedQuery, request.query).since))
  app.post(SEED_PATH, async (request, reply) => {
    const begun = await seeds.begin(read(seedRequest, request.body))
    return reply.code(begun.joined ? 200 : 201).send(begun)
  })
  app.delete(`${SEED_PATH}/:id`, async (request) => await seeds.cancel(read(seedParams, request.params).id))
}

/** @throws {LayerswarmError} REQUEST_INVALID */
function read<T>(schema: z.ZodType<T>, value: unknown): T {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const issues = parsed.error.issues.map(({ path, message }) => `${path.join('.') || 'body'}: ${message}`)
  throw new LayerswarmError('REQUEST_INVALID', { detail: issues.join('; ') })
}
