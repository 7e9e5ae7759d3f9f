import { ContainerdRuntime } from '../../src/runtime/containerd.ts'
import { ContainersRuntime } from '../../src/runtime/containers.ts'
import { DockerRuntime } from '../../src/runtime/docker.ts'
import { installMirror, mirrorStatus, uninstallMirror } from '../../src/runtime/mirror-setup.ts'
import type { MirrorSettings, Runtime } from '../../src/runtime/setup.ts'
import { ConfigTree } from './config-tree.ts'

export const SETTINGS: MirrorSettings = {
  mirrorUrl: 'http://127.0.0.1:5050',
  registries: ['docker.io', 'r.example:5000'],
  onlyRegistries: false
}
export const OTHER: MirrorSettings = { ...SETTINGS, mirrorUrl: 'http://127.0.0.1:6060' }

export const CRI = 'plugins."io.containerd.grpc.v1.cri"'
export const CONFIG = `version = 2\n[${CRI}]\n  [${CRI}.registry]\n    config_path = ""\n`
export const HOSTS = '# mine\nserver = "https://r.example:5000"\n\n[host."https://cache.example"]\n  capabilities = ["pull"]\n'

/** A host's configuration, the runtimes that read it, and a data directory beside it. */
export class Machine extends ConfigTree {
  readonly containerd = new ContainerdRuntime({ configFile: this.path('etc/config.toml'), ownContainerd: [this.path('etc/rancher/k3s')] })
  readonly docker = new DockerRuntime({ configFile: this.path('etc/daemon.json'), certsDir: this.path('etc/docker-certs') })
  readonly podman = new ContainersRuntime('podman', { confDir: this.path('etc/registries.conf.d') })

  constructor() {
    super()
    this.makeDir('etc')
  }

  get options() {
    return { dataDir: this.path('data') }
  }

  install(runtime: Runtime, settings = SETTINGS) {
    return installMirror(runtime, settings, this.options)
  }

  uninstall(runtime: Runtime) {
    return uninstallMirror(runtime, this.options)
  }

  status(runtime: Runtime, settings = SETTINGS) {
    return mirrorStatus(runtime, settings, this.options)
  }
}
