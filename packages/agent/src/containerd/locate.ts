import { access, constants, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parse } from 'smol-toml'

/** Where containerd's own packages, k3s and RKE2 put the socket. */
const SOCKETS = ['/run/containerd/containerd.sock', '/run/k3s/containerd/containerd.sock']
const CONFIG = '/etc/containerd/config.toml'
/** The plugin's folder under containerd's root. */
const CONTENT = 'io.containerd.content.v1.content'

export interface ContainerdOptions {
  /** Its socket, or `none`; found where this is absent. */
  readonly address: string | undefined
  /** Its root as seen from here; containerd is asked where this is absent. */
  readonly root: string | undefined
}

export interface ContainerdPlace {
  readonly socket: string
  /** The folder of its blobs; undefined: containerd is to be asked. */
  readonly content: string | undefined
}

/** Finds the containerd of this host. @returns undefined where there is none */
export async function findContainerd(
  { address, root }: ContainerdOptions,
  { sockets = SOCKETS, config = CONFIG }: { readonly sockets?: readonly string[]; readonly config?: string } = {}
): Promise<ContainerdPlace | undefined> {
  if (address === 'none') return undefined
  const content = root === undefined ? undefined : join(root, CONTENT)
  if (address !== undefined) return { socket: address, content }
  const configured = await configuredSocket(config)
  for (const socket of configured === undefined ? sockets : [configured, ...sockets]) {
    if (
      await access(socket, constants.F_OK).then(
        () => true,
        () => false
      )
    )
      return { socket, content }
  }
  return undefined
}

/** `address` in the table `grpc`, whatever else the file says. */
async function configuredSocket(path: string): Promise<string | undefined> {
  try {
    const { grpc } = parse(await readFile(path, 'utf8')) as { grpc?: { address?: unknown } }
    return typeof grpc?.address === 'string' && grpc.address !== '' ? grpc.address : undefined
  } catch {
    // No such file, not ours to read, or broken: then the usual places remain.
    return undefined
  }
}
