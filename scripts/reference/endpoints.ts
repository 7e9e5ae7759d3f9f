import { PULL_PATH } from '@layerswarm/core/api/local-api.ts'
import { code, table } from './markdown.ts'

interface Server {
  readonly title: string
  /** Where its routes are made. */
  readonly file: string
  readonly routes: Readonly<Record<string, string>>
}

export const SERVERS: readonly Server[] = [
  {
    title: 'Of an agent, on its admin address',
    file: 'packages/agent/src/admin/admin.ts',
    routes: {
      'GET /healthz': '200 while the process lives',
      'GET /readyz':
        '200 once the mirror answers and the store is open, else 503: `{ready, mirror, store, tracker: {connected}}`; the tracker is not needed',
      'GET /metrics': 'Prometheus text',
      'GET /v1/status':
        'what it has and does: `{id, name, tracker: {connected}, peers, store: {complete: {blobs, bytes}, partial: {blobs, bytes}}, transfers: [{digest, repository, size, counts}]}`',
      'GET /v1/blobs': 'a line of JSON per blob: `{digest, size, state, present, usedAt}`',
      [`POST ${PULL_PATH}`]: 'fetches an image into the store, see below'
    }
  },
  {
    title: 'Of a tracker, on its HTTP address',
    file: 'packages/tracker/src/http/app.ts',
    routes: {
      'GET /healthz': '200 while the process lives',
      'GET /readyz': '200 once agents can connect, else 503: `{ready, id, addresses, hosts}`',
      'GET /metrics': 'Prometheus text',
      'GET /v1/fleet': 'hosts, blobs, leases and what left the registries, see below',
      'GET /': 'the same for people'
    }
  }
]

/**
 * @param source of a server's file
 * @throws {Error} when its routes are not those that are described
 */
export function endpointsText({ title, file, routes }: Server, source: string): string {
  const made = [...source.matchAll(/app\.(get|post)\((?:'([^']+)'|PULL_PATH)/g)].map(
    ([, method = '', path = PULL_PATH]) => `${method.toUpperCase()} ${path}`
  )
  const undescribed = made.filter((route) => !(route in routes))
  const gone = Object.keys(routes).filter((route) => !made.includes(route))
  if (undescribed.length + gone.length > 0) {
    throw new Error(`${file}: not described: ${undescribed.join(', ')}; not there any more: ${gone.join(', ')}`)
  }
  const rows = Object.entries(routes).map(([route, meaning]) => [code(route), meaning])
  return `### ${title}\n\n${table(['request', 'answer'], rows)}`
}
