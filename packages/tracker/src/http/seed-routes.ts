import { SEED_PATH, seedRequest } from '@layerswarm/core/api/seed-api.ts'
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import type { Seeds } from '../seeds/seeds.ts'
import { parsed } from './parsed.ts'

const seedParams = z.object({ id: z.string() })
const seedQuery = z.strictObject({ since: z.coerce.number().int().min(0).optional() })

/** Seeds over HTTP; what may ask for a change is for the caller to check. */
export function addSeedRoutes(app: FastifyInstance, seeds: Pick<Seeds, 'begin' | 'cancel' | 'list' | 'view'>): void {
  app.get(SEED_PATH, () => ({ seeds: seeds.list() }))
  app.get(`${SEED_PATH}/:id`, (request) => seeds.view(parsed(seedParams, request.params).id, parsed(seedQuery, request.query).since))
  app.post(SEED_PATH, async (request, reply) => {
    const begun = await seeds.begin(parsed(seedRequest, request.body))
    return reply.code(begun.joined ? 200 : 201).send(begun)
  })
  app.delete(`${SEED_PATH}/:id`, async (request) => await seeds.cancel(parsed(seedParams, request.params).id))
}
