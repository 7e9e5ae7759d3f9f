import { copiesOf, countHosts } from '../state/fleet-view.ts'
import type { FleetState } from '../state/model.ts'

/** A page for whoever opens the tracker in a browser: what this is, how it fares, where to read on. */
export function frontPage(id: string, addresses: readonly string[], state: FleetState): string {
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
<p>Agents connect with:</p>
<ul>${addresses.map((address) => `<li><code>--tracker ${address}</code>`).join('')}</ul>
<ul>
<li><a href="v1/fleet">/v1/fleet</a>: hosts, blobs and leases as JSON
<li><a href="metrics">/metrics</a>: for Prometheus
<li><a href="healthz">/healthz</a>, <a href="readyz">/readyz</a>
</ul>
<p>Id: <code>${id}</code></p>
</html>
`
}
