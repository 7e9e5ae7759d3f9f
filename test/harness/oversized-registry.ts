/**
 * A registry on 0.0.0.0 at the port given, whose `team/huge:v1` is a manifest of five MiB: real ones refuse to store
 * such a thing, so this has to be a made one.
 */
import { FakeRegistry } from '@layerswarm/testkit/fake-registry.ts'

const SIZE = 5 * 1024 * 1024
const TYPE = 'application/vnd.oci.image.manifest.v1+json'

const registry = await FakeRegistry.start({ hostname: '0.0.0.0', port: Number(process.argv[2]) })
const manifest = { schemaVersion: 2, mediaType: TYPE, layers: [], annotations: { filler: 'x'.repeat(SIZE) } }
registry.putManifest('team/huge', 'v1', Buffer.from(JSON.stringify(manifest)), TYPE)
