/**
 * Writes docs/reference.md from what the program itself knows: options, commands, error codes, protocols, metrics.
 * With --check it only compares, and fails when the file is not what would be written.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { ERRORS } from '@layerswarm/core/errors.ts'
import { createAgentMetrics, createMetricsRegistry, createTrackerMetrics } from '@layerswarm/core/metrics.ts'
import { commandsSection, optionsSection } from './reference/commands.ts'
import { endpointsText, SERVERS } from './reference/endpoints.ts'
import { code, fence, headComment, table } from './reference/markdown.ts'

const ROOT = new URL('../', import.meta.url)
const REFERENCE = new URL('docs/reference.md', ROOT)

const LOCAL_API = 'packages/core/src/api/local-api.ts'
const IMAGES_API = 'packages/core/src/api/images-api.ts'
const PUSH_API = 'packages/core/src/api/push-api.ts'
const SEED_API = 'packages/core/src/api/seed-api.ts'
const STATUS_API = 'packages/core/src/api/status-api.ts'
const FLEET_VIEW = 'packages/tracker/src/state/fleet-view.ts'

async function sourceOf(file: string): Promise<string> {
  return await readFile(new URL(file, ROOT), 'utf8')
}

async function headOf(file: string): Promise<string> {
  return headComment(await sourceOf(file), file)
}

async function protocolsSection(): Promise<string> {
  const files = ['packages/core/src/wire/peer-protocol.ts', 'packages/core/src/wire/directory-protocol.ts']
  const texts = await Promise.all(files.map(async (file) => `From ${code(file)}:\n\n${fence(await headOf(file))}`))
  return `## Protocols between hosts\n\n${texts.join('\n\n')}`
}

function jsonSection(): string {
  return `## JSON that commands print

Fields are only ever added.

- \`layerswarm pull --json\`: the fields of \`summary\`, see [POST /v1/pull](#http); with \`--output\` also \`written\`, the digest that the
  files name.
- \`layerswarm push --json\`: the fields of \`summary\`, see [POST /v1/push](#http).
- \`layerswarm seed --json\`: a seed with its hosts, or with \`--file\` a list of those; with \`--detach\` without hosts.
  \`layerswarm seed status --json\`: the list, or of one seed as before; see [POST /v1/seed](#seeds).
- \`layerswarm ls --json\`: \`images\` and \`totals\`; with \`--blobs\` a list of blobs; see [GET /v1/images](#http).
- \`layerswarm check --json\`: the fields of \`summary\`, but \`images\` a list of what was checked, and \`failed\`; see
  [POST /v1/check](#http).
- \`layerswarm gc --json\`, \`layerswarm status --json\`: as [POST /v1/gc](#http) and [GET /v1/status](#http) answer.
- \`layerswarm mirror install|uninstall --json\`: \`runtime\`, \`dryRun\`, \`changed\`, \`files\` (\`path\`, \`change\`: \`created\`, \`changed\`,
  \`restored\`, \`removed\`, \`unchanged\`; \`edited\`: by somebody else since; in a dry run \`diff\`), \`notes\`, \`done\`, \`todo\` (\`reason\`,
  \`command\`) and \`problems\` (\`problem\`, \`remedy\`): with any, nothing was written, or a daemon did not follow.
  An uninstall from \`all\` gives a list of these.
- \`layerswarm mirror status --json\`: a list of \`runtime\`, \`present\`, \`mirrorUrl\` (null where it is not installed), \`configured\`,
  \`files\` (\`path\`, \`state\`: \`installed\`, \`edited\`, \`missing\`) and \`problems\`.
- \`layerswarm doctor --json\`: a list of \`check\`, \`status\` (\`ok\`, \`problem\`, \`unknown\`), \`text\` and, for a problem, \`remedy\`.
- \`layerswarm config print --json\`: \`daemon\`, \`file\` (the path that was read, or null) and \`options\`: by key its \`value\` (text, a list
  of texts, or null where it is not set), its \`origin\` (\`default\`, \`file\`, \`environment\`, \`flag\`) and, unless that is a default,
  \`from\` (the path, variable or flag).
- \`layerswarm config check --json\`: \`daemon\`, \`file\`, \`valid\` and \`warning\` (text or null).`
}

async function httpSection(): Promise<string> {
  const servers = await Promise.all(
    SERVERS.map(async (server) => endpointsText(server, (await Promise.all(server.files.map(sourceOf))).join('\n')))
  )
  const fleet = /^export interface FleetView \{[\s\S]*?^\}/m.exec(await sourceOf(FLEET_VIEW))?.[0]
  if (fleet === undefined) throw new Error(`${FLEET_VIEW} has no FleetView`)
  return `## HTTP

The mirror speaks the OCI distribution specification: pull and listing, and with \`--allow-push\` push too, but for deleting.
\`ns=REGISTRY\` names the registry, or a first path component that looks like a host (\`/v2/registry.example.com/team/app/…\`, a port as
\`127.0.0.1_5000\`); without either a pull means docker.io, and a push is refused. Fields of JSON are only ever added.

${servers.join('\n\n')}

### The pull of an image

From ${code(LOCAL_API)}:

${fence(await headOf(LOCAL_API))}

### The push of an image

From ${code(PUSH_API)}:

${fence(await headOf(PUSH_API))}

### Images and blobs

From ${code(IMAGES_API)}:

${fence(await headOf(IMAGES_API))}

### Seeds

From ${code(SEED_API)}:

${fence(await headOf(SEED_API))}

### What an agent does

From ${code(STATUS_API)}:

${fence(await headOf(STATUS_API))}

### The fleet

\`GET /v1/fleet\` of a tracker. A page has at most 1000 entries of each list, or \`?limit=N\` fewer; where it is not the last one, \`?cursor=\`
with its \`next\` gives the one after it. An entry that is there all the time is on one page, whatever comes and goes.

${fence(fleet, 'ts')}`
}

function errorsSection(): string {
  const rows = Object.entries(ERRORS).map(([name, { text, remedy, blame }]) => [code(name), text, remedy, blame])
  return `## Error codes\n\nBlame says whose fault it is: a peer's, the registry's, this host's (local), or of who asked (caller).\n\n${table(
    ['code', 'what happened', 'what to do', 'blame'],
    rows
  )}`
}

interface MetricShape {
  readonly name: string
  readonly help: string
  readonly labelNames: readonly string[]
}

function metricsSection(): string {
  const rows = [createAgentMetrics, createTrackerMetrics].flatMap((create) => {
    const registry = createMetricsRegistry({ process: false })
    create(registry)
    const daemon = create === createAgentMetrics ? 'agent' : 'tracker'
    return (registry.getMetricsAsArray() as unknown as MetricShape[]).map((metric) => [
      code(metric.name),
      metric.constructor.name.toLowerCase(),
      metric.labelNames.map(code).join(', '),
      daemon,
      metric.help
    ])
  })
  return `## Metrics\n\nPrometheus text on \`/metrics\` of the agent's admin address and of the tracker's HTTP address, beside the usual ones of the process.\n\n${table(
    ['metric', 'type', 'labels', 'of', 'meaning'],
    rows
  )}`
}

const sections = [
  commandsSection(),
  optionsSection(),
  jsonSection(),
  await httpSection(),
  metricsSection(),
  errorsSection(),
  await protocolsSection()
]
const text = `# Reference\n\nGenerated by \`npm run docs\` from the program; \`npm run check\` fails when it is out of date.\n\n${sections.join('\n\n')}\n`

if (process.argv.includes('--check')) {
  const present = await readFile(REFERENCE, 'utf8').catch(() => '')
  if (present !== text) {
    process.stderr.write('docs/reference.md is out of date: run npm run docs\n')
    process.exitCode = 1
  }
} else await writeFile(REFERENCE, text)
