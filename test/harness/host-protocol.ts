import type { ImageSpec } from '@layerswarm/testkit/oci-image.ts'
import type { PublishedImage } from './published-image.ts'

/** What the harness and its client process on a host say to each other, over Node's IPC channel. */

export interface HttpRequest {
  readonly kind: 'http'
  readonly host: string
  readonly port: number
  readonly method: string
  /** Sent as it is: nothing in it is normalised. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  /**
   * Small bodies come back as text; large ones are hashed where they arrive, or counted: GET only, at the least cost, and
   * nothing is told of them before their end.
   */
  readonly keep: 'text' | 'digest' | 'count'
  /** Read no further than this many bytes until told to go on; tests hold a client in the middle so. */
  readonly pauseAt?: number
}

export interface TcpRequest {
  readonly kind: 'tcp'
  readonly host: string
  readonly port: number
  /** Base64 of the bytes to send. */
  readonly send: string
  /** Close from our side after this long without the other side doing so. */
  readonly closeAfterMs: number
}

/** Build an image and upload it to the registry on this host. */
export interface PublishRequest {
  readonly kind: 'publish'
  readonly spec: ImageSpec
  /** Where its layers are built. */
  readonly dir: string
  readonly registryUrl: string
  readonly repository: string
  readonly tag: string
}

export interface HttpResult {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly text: string
  /** `sha256:…` of the body's bytes as they came over the wire; empty if they were only counted. */
  readonly digest: string
  readonly bytes: number
  readonly firstByteMs: number
  readonly seconds: number
}

export interface TcpResult {
  /** Base64 of what the other side sent. */
  readonly received: string
  readonly closedBy: 'them' | 'us'
}

export type HostCommand =
  | (HttpRequest & { readonly id: number })
  | (TcpRequest & { readonly id: number })
  | (PublishRequest & { readonly id: number })
  | { readonly kind: 'resume'; readonly id: number }
  | { readonly kind: 'abort'; readonly id: number }

export type HostReply =
  | { readonly id: number; readonly type: 'progress'; readonly bytes: number }
  | { readonly id: number; readonly type: 'http'; readonly result: HttpResult }
  | { readonly id: number; readonly type: 'tcp'; readonly result: TcpResult }
  | { readonly id: number; readonly type: 'publish'; readonly result: PublishedImage }
  | { readonly id: number; readonly type: 'error'; readonly message: string; readonly bytes: number }
