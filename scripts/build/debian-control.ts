/** Node's names for machines, and Debian's. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' }

/** @throws on a machine that this product is not made for */
export function debianArchitecture(): string {
  const architecture = ARCHITECTURES[process.arch]
  if (architecture === undefined) throw new Error(`no Debian package is made for ${process.arch}`)
  return architecture
}

/** The control file of the package. What it depends on is what Node's own binary is linked with. @param kib what it takes when installed */
export function debianControl(version: string, kib: number): string {
  return `Package: layerswarm
Version: ${version}
Architecture: ${debianArchitecture()}
Maintainer: Layerswarm contributors <noreply@layerswarm.invalid>
Section: admin
Priority: optional
Installed-Size: ${kib}
Depends: adduser, libc6 (>= 2.28), libgcc-s1, libstdc++6 (>= 8)
Description: container images for a fleet of hosts, peers first
 On each host an agent is the registry mirror of containerd, Docker, podman or
 CRI-O. It takes layers from other hosts that have or are just fetching them,
 and from the registry only what no host has.
 .
 Nothing is started by the installation: configure /etc/layerswarm/agent.toml,
 then enable layerswarm-agent.service, and on one host of the fleet
 layerswarm-tracker.service. The package brings its own Node.
`
}
