import { BLOBS_PATH, CHECK_PATH, CONTENT_PATH, GC_PATH, IMAGES_PATH } from '@layerswarm/core/api/images-api.ts'
import { PULL_PATH } from '@layerswarm/core/api/local-api.ts'
import { PUSH_PATH } from '@layerswarm/core/api/push-api.ts'
import { SEED_PATH } from '@layerswarm/core/api/seed-api.ts'
import { STATUS_PATH } from '@layerswarm/core/api/status-api.ts'
import { code, table } from './markdown.ts'

interface Server {
  readonly title: string
  /** Where its routes are made. */
  readonly files: readonly string[]
  readonly routes: Readonly<Record<string, string>>
}

export const SERVERS: readonly Server[] = [
  {
    title: 'Of an agent, on its admin address',
    files: ['packages/agent/src/admin/admin.ts', 'packages/agent/src/admin/image-routes.ts'],
    routes: {
      'GET /healthz': '200 while the process lives',
      'GET /readyz':
        '200 once the mirror answers and the store is open, else 503: `{ready, mirror, store, tracker: {connected}}`; the tracker is not needed',
      'GET /metrics': 'Prometheus text',
      [`GET ${STATUS_PATH}`]: 'what it has and does now, see below',
      [`GET ${IMAGES_PATH}`]: 'the images that it knows, see below',
      [`GET ${BLOBS_PATH}`]: 'a line of JSON per blob: `{digest, size, state, present, usedAt}`; with `?images=true` also `images`',
      [`GET ${BLOBS_PATH}/:digest`]: 'the same of one blob',
      [`POST ${BLOBS_PATH}/:digest`]: 'takes a blob into the store',
      [`GET ${CONTENT_PATH}/:digest`]: 'content of a repository, fetched where it is not here',
      [`POST ${CHECK_PATH}`]: 'checks images, see below',
      [`POST ${GC_PATH}`]: 'evicts by policy now, see below',
      [`POST ${PUSH_PATH}`]: 'gives a registry an image, see below',
      [`POST ${PULL_PATH}`]: 'fetches an image into the store, see below'
    }
  },
  {
    title: 'Of a tracker, on its HTTP address',
    files: ['packages/tracker/src/http/app.ts', 'packages/tracker/src/http/seed-routes.ts'],
    routes: {
      'GET /healthz': '200 while the process lives',
      'GET /readyz': '200 once agents can connect, else 503: `{ready, id, addresses, hosts}`',
      'GET /metrics': 'Prometheus text',
      'GET /v1/fleet': 'hosts, blobs, leases and what left the registries, in pages, see below',
      [`GET ${SEED_PATH}`]: 'the seeds, see below',
      [`GET ${SEED_PATH}/:id`]: 'one of them, with its hosts',
      [`POST ${SEED_PATH}`]: 'begins one; needs the token',
      [`DELETE ${SEED_PATH}/:id`]: 'cancels one; needs the token',
      'GET /': 'the same for people'
    }
  }
]

const PATHS: Readonly<Record<string, string>> = {
  BLOBS_PATH,
  CHECK_PATH,
  CONTENT_PATH,
  GC_PATH,
  IMAGES_PATH,
  PULL_PATH,
  PUSH_PATH,
  SEED_PATH,
  STATUS_PATH
}

/** A path as the source writes it: a text, a name, or a template that begins with one. */
function pathOf(text: string): string {
  return text.replace(/^['`](.*)['`]$/, '$1').replace(/^(?:\$\{)?([A-Z_]+)\}?/, (_whole, name: string) => PATHS[name] ?? name)
}

/**
 * @param source of a server's files
 * @throws {Error} when its routes are not those that are described
 */
export function endpointsText({ title, files, routes }: Server, source: string): string {
  const made = [...source.matchAll(/app\.(get|post|delete)\(([^\s,]+),/g)].map(
    ([, method = '', path = '']) => `${method.toUpperCase()} ${pathOf(path)}`
  )
  const undescribed = made.filter((route) => !(route in routes))
  const gone = Object.keys(routes).filter((route) => !made.includes(route))
  if (undescribed.length + gone.length > 0) {
    throw new Error(`${files.join(', ')}: not described: ${undescribed.join(', ')}; not there any more: ${gone.join(', ')}`)
  }
  const rows = Object.entries(routes).map(([route, meaning]) => [code(route), meaning])
  return `### ${title}\n\n${table(['request', 'answer'], rows)}`
}
