/** The small registry of the testkit as a program of its own: `node registry.ts PORT DIR`. Where docker-registry is not installed. */
import { FakeRegistry } from '@layerswarm/testkit/fake-registry.ts'

const [port, dir] = process.argv.slice(2)
if (port === undefined || dir === undefined) throw new Error('usage: registry.ts PORT DIR')
await FakeRegistry.start({ port: Number(port), dir })
