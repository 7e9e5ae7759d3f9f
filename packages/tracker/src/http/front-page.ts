import type { SeedSummary } from '@layerswarm/core/api/seed-api.ts'
import { copiesOf, countHosts } from '../state/fleet-view.ts'
import type { FleetState } from '../state/model.ts'

/** A page for whoever opens the tracker in a browser: what this is, how it fares, where to read on. */
export function frontPage(id: string, addresses: readonly string[], state: FleetState, seeds: readonly SeedSummary[]): string {
  const { idle, fetching } = countHosts(state)
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Layerswarm tracker</title>
<style>body { font: 1rem/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem } code { overflow-wrap: anywhere }</style>
<h1>Layerswarm tracker</h1>
<p>It knows which hosts of the fleet hold and fetch which image content, and who fetches what from the registry.</p>
<p>${idle + fetching} hosts connected, ${fetching} of them fetching; ${state.blobs.size} blobs known;
registry copies ${copiesOf(state).toFixed(2)}.</p>
${seedsPart(seeds.filter((seed) => seed.state === 'running'))}<p>Agents connect with:</p>
<ul>${addresses.map((address) => `<li><code>--tracker ${address}</code>`).join('')}</ul>
<ul>
<li><a href="v1/fleet">/v1/fleet</a>: hosts, blobs and leases as JSON, in pages
<li><a href="v1/seed">/v1/seed</a>: images that are brought to hosts ahead of use, as JSON
<li><a href="metrics">/metrics</a>: for Prometheus
<li><a href="healthz">/healthz</a>, <a href="readyz">/readyz</a>
</ul>
<p>Id: <code>${id}</code></p>
</html>
`
}

function seedsPart(running: readonly SeedSummary[]): string {
  if (running.length === 0) return ''
  return `<p>Seeds under way:</p>
<ul>${running.map(seedItem).join('')}</ul>
`
}

/** Nothing of it can be markup: an image's name has no such characters, and neither has an id. */
function seedItem({ id, image, states, copies }: SeedSummary): string {
  const { waiting, queued, fetching, done, here, failed } = states
  return `<li><a href="v1/seed/${id}">${image}</a>: ${done + here} hosts have it, ${queued + fetching} under way, ${waiting} waited for,
${failed} failed; registry copies ${copies.toFixed(2)}`
}
