/** Whose fault a failure is: it decides who is avoided next and what a client is told. */
export type Blame = 'peer' | 'registry' | 'local' | 'caller'

interface ErrorKind {
  /** What happened, as a sentence without a full stop. */
  readonly text: string
  /** What a reader of the message can do about it. */
  readonly remedy: string
  readonly blame: Blame
}

/** Every failure this product names. The reference documentation is checked against this table. */
export const ERRORS = {
  DIGEST_INVALID: { text: 'not a valid digest', remedy: 'use sha256:<64 hex digits> or sha512:<128 hex digits>', blame: 'caller' },
  DIGEST_MISMATCH: {
    text: 'content does not match its digest',
    remedy: 'nothing was stored; the content is fetched again from another source',
    blame: 'registry'
  },
  PIECE_MISMATCH: {
    text: 'a piece does not match its hash',
    remedy: 'the sender is dropped and the piece is fetched elsewhere; if it names the same host again, check its disk and memory',
    blame: 'peer'
  },
  SIZE_MISMATCH: {
    text: 'content has another size than announced',
    remedy: 'nothing was stored; the content is fetched again',
    blame: 'registry'
  },
  NAME_INVALID: { text: 'not a valid repository name', remedy: 'use lower-case path components, as in library/nginx', blame: 'caller' },
  TAG_INVALID: { text: 'not a valid tag', remedy: 'use up to 128 letters, digits, dots, dashes and underscores', blame: 'caller' },
  REFERENCE_INVALID: { text: 'not a valid image reference', remedy: 'write [registry/]repository[:tag][@digest]', blame: 'caller' },
  PLATFORM_UNKNOWN: {
    text: 'no such platform',
    remedy: 'use os/architecture[/variant], one that the image is made for',
    blame: 'caller'
  },
  NAMESPACE_INVALID: {
    text: 'the ns parameter is empty or given more than once',
    remedy: 'send one ns parameter that names the registry',
    blame: 'caller'
  },
  REGISTRY_NOT_ALLOWED: {
    text: 'this mirror is not configured to reach that registry',
    remedy: 'add --registry HOST (or --insecure-registry HOST) to the agent',
    blame: 'caller'
  },
  METHOD_UNSUPPORTED: {
    text: 'the mirror does not take this method here',
    remedy: 'delete at the registry itself; everything else is in the OCI distribution specification',
    blame: 'caller'
  },
  PUSH_OFF: {
    text: 'this mirror takes no pushes',
    remedy: 'push to the registry itself, or start the agent with --allow-push',
    blame: 'caller'
  },
  PUSH_UNNAMED: {
    text: 'a push must name its registry',
    remedy: 'write HOST:PORT/REGISTRY/NAME:TAG, with docker.io for Docker Hub',
    blame: 'caller'
  },
  UPLOAD_UNKNOWN: { text: 'no such upload', remedy: 'it has ended or expired, or the agent has restarted; begin it anew', blame: 'caller' },
  UPLOAD_RANGE: {
    text: 'an upload goes on where it stands',
    remedy: 'ask for its status and send the bytes that follow',
    blame: 'caller'
  },
  UPLOAD_MISMATCH: {
    text: 'what was pushed does not have the digest that it was given',
    remedy: "nothing was stored; push it again, and check the client's disk if it repeats",
    blame: 'caller'
  },
  UPLOAD_LIMIT: { text: 'too many uploads at a time', remedy: 'wait until some have ended', blame: 'local' },
  MANIFEST_TOO_LARGE: { text: 'a manifest is larger than 4 MiB', remedy: 'put the data into a blob', blame: 'caller' },
  PATH_UNKNOWN: {
    text: 'there is nothing at this path',
    remedy: 'see the paths in the reference; a mirror has those under /v2/',
    blame: 'caller'
  },
  HEADERS_INVALID: { text: 'the request is not valid HTTP', remedy: 'check the client and what stands between', blame: 'caller' },
  HEADERS_TOO_LARGE: { text: 'the request has too large headers', remedy: 'send fewer or shorter headers', blame: 'caller' },
  REQUEST_INVALID: { text: 'the request is not valid', remedy: 'correct what the detail names', blame: 'caller' },
  HOST_NOT_ALLOWED: {
    text: 'this address does not answer to that name',
    remedy: 'use the address that the daemon listens on, as in http://127.0.0.1:5051',
    blame: 'caller'
  },
  LOCAL_ONLY: {
    text: 'only this host itself may ask for this',
    remedy: "run the command on the agent's host; where the agent runs in a container, in there (docker exec)",
    blame: 'caller'
  },
  STOPPING: { text: 'the agent is stopping', remedy: 'ask again when it runs', blame: 'local' },
  BLOB_UNKNOWN: { text: 'blob unknown to this repository', remedy: 'check the digest and the repository', blame: 'caller' },
  MANIFEST_UNKNOWN: { text: 'manifest unknown', remedy: 'check the repository and the tag or digest', blame: 'caller' },
  IMAGE_UNKNOWN: {
    text: 'this host knows no such image',
    remedy: 'see those it knows with: layerswarm ls; fetch one with: layerswarm pull IMAGE',
    blame: 'caller'
  },
  SOURCE_INVALID: {
    text: 'no image can be read there',
    remedy: 'name an image layout (oci:DIR), an archive of one (oci-archive:FILE), or what docker save writes (docker-archive:FILE)',
    blame: 'caller'
  },
  OUTPUT_FAILED: {
    text: 'the image cannot be written there',
    remedy: 'check the path, its permissions and the free space; an image that has no such form can be written as oci-archive:FILE',
    blame: 'caller'
  },
  MANIFEST_INVALID: {
    text: 'not a valid manifest',
    remedy: 'the registry must send an OCI or Docker manifest of at most 4 MiB',
    blame: 'registry'
  },
  RANGE_UNSATISFIABLE: {
    text: 'the requested range lies outside the content',
    remedy: 'ask for bytes below the size given in Content-Range',
    blame: 'caller'
  },
  REGISTRY_UNREACHABLE: {
    text: 'the registry cannot be reached',
    remedy: 'check the network, the proxy settings and the registry itself',
    blame: 'registry'
  },
  REGISTRY_DENIED: {
    text: 'the registry refused access',
    remedy:
      'check that the repository exists and that the credentials of this host may read it, or write it for a push (docker login, --registry-auth FILE)',
    blame: 'registry'
  },
  REGISTRY_FAILED: { text: 'the registry failed', remedy: 'try again later; the status is in the detail', blame: 'registry' },
  REGISTRY_REFUSED: {
    text: 'the registry refused what was pushed',
    remedy: 'correct what the registry names in the detail; quotas and immutable tags are set there',
    blame: 'registry'
  },
  REGISTRY_BUSY: { text: 'the registry limits requests', remedy: 'wait; it is asked again after the time it named', blame: 'registry' },
  NOT_FOUND: { text: 'the registry does not have this content', remedy: 'check the reference', blame: 'registry' },
  PEER_UNREACHABLE: { text: 'a peer cannot be reached', remedy: 'check that hosts can reach each other on the p2p port', blame: 'peer' },
  PEER_PROTOCOL: { text: 'a peer broke the protocol', remedy: 'run the same version of Layerswarm on all hosts', blame: 'peer' },
  PEER_VERSION: { text: 'a peer speaks no protocol version in common with this host', remedy: 'upgrade the older host', blame: 'peer' },
  PEER_GONE: { text: 'a peer no longer holds this content', remedy: 'nothing to do; it is fetched elsewhere', blame: 'peer' },
  TRACKER_UNREACHABLE: {
    text: 'the tracker cannot be reached',
    remedy: 'check --tracker and that the tracker runs; pulls go on without it',
    blame: 'local'
  },
  HOSTS_INVALID: {
    text: 'not a valid choice of hosts',
    remedy: 'use all, a number as 12, a share as 25%, zone:NAME, or the name of a host; names and zones may be several',
    blame: 'caller'
  },
  HOSTS_UNKNOWN: {
    text: 'the fleet has no such hosts',
    remedy: 'see those that it has at the /v1/fleet of the tracker; an agent shows up there seconds after its start',
    blame: 'caller'
  },
  HOST_ABSENT: {
    text: 'the host is not connected to the tracker',
    remedy: 'see that its agent runs and reaches the tracker, then give the same command again: the others are left as they are',
    blame: 'local'
  },
  SEED_UNKNOWN: { text: 'there is no such seed', remedy: 'see those that there are with: layerswarm seed status', blame: 'caller' },
  SEED_FAILED: {
    text: 'the image did not reach every host',
    remedy: 'mend what is named, then give the same command again: hosts that have the image are left as they are',
    blame: 'local'
  },
  SEEDS_FULL: { text: 'too many seeds are under way', remedy: 'wait until some are done, or cancel some', blame: 'local' },
  TOKEN_INVALID: {
    text: "the tracker's token is missing or wrong",
    remedy: 'give the file that the tracker keeps in its data directory with --token-file, or its content in LAYERSWARM_TOKEN',
    blame: 'caller'
  },
  ORIGIN_NOT_ALLOWED: {
    text: 'a page of another site may not ask for this',
    remedy: "use the tracker's own page, or the command line; push with a container tool",
    blame: 'caller'
  },
  TRACKER_API_UNREACHABLE: {
    text: "the tracker's HTTP address does not answer",
    remedy: 'see that the tracker runs, and name its HTTP address with --tracker-url URL',
    blame: 'caller'
  },
  TOKEN_FAILED: {
    text: "the tracker's token cannot be kept",
    remedy: 'check the data directory; remove the file to get a new token',
    blame: 'local'
  },
  CLUSTER_KEY_INVALID: {
    text: 'the cluster key file is not usable',
    remedy: 'make one with: layerswarm cluster-key new --out FILE, and give every host the same file',
    blame: 'local'
  },
  CLUSTER_KEY_NEEDED: {
    text: 'listening beyond loopback needs a cluster key',
    remedy: 'make one with: layerswarm cluster-key new --out FILE, give every host the same file and start with --cluster-key FILE',
    blame: 'local'
  },
  KEY_NOT_WRITTEN: {
    text: 'the key was not written',
    remedy: 'name a file that does not exist yet, in a folder that you may write to',
    blame: 'caller'
  },
  IDENTITY_INVALID: {
    text: "this host's identity key is not usable",
    remedy: 'restore the file, or remove it to get a new identity',
    blame: 'local'
  },
  CONTAINERD_FAILED: {
    text: 'containerd cannot be used',
    remedy:
      'see that it runs and that this user may use its socket and read its root; name them with --containerd-address and --containerd-root',
    blame: 'local'
  },
  CONFIG_INVALID: {
    text: 'the configuration is not valid',
    remedy: 'correct what is named; check again with: layerswarm config check',
    blame: 'caller'
  },
  LISTEN_FAILED: {
    text: 'cannot listen on the address',
    remedy: 'stop the program that uses the port, or choose another address',
    blame: 'local'
  },
  STORE_BUSY: {
    text: 'the data directory is in use by another process',
    remedy: 'talk to the running agent (--agent URL), or choose another --data-dir',
    blame: 'local'
  },
  STORE_FULL: { text: 'the store cannot take more', remedy: 'free disk space, or raise --max-disk', blame: 'local' },
  STORE_FAILED: {
    text: 'the store cannot be read or written',
    remedy: 'check the data directory, its permissions and its disk',
    blame: 'local'
  },
  STALLED: {
    text: 'no source delivered in time',
    remedy: 'the content is fetched again; if it repeats, check the network',
    blame: 'registry'
  },
  SETUP_FAILED: {
    text: "a container runtime's configuration cannot be read or written",
    remedy: 'run this as a user who may write it, such as root, on a file system that is writable',
    blame: 'local'
  },
  AGENT_UNREACHABLE: {
    text: "this host's agent cannot be reached",
    remedy: 'start it with: layerswarm agent, or name it with --agent URL',
    blame: 'caller'
  }
} as const satisfies Record<string, ErrorKind>

export type ErrorCode = keyof typeof ERRORS

/** The one error class: a code from the table, whose fault it is, and what to do. */
export class LayerswarmError extends Error {
  readonly code: ErrorCode
  readonly blame: Blame
  readonly remedy: string
  readonly detail: string | undefined

  constructor(code: ErrorCode, options: { detail?: string; cause?: unknown; blame?: Blame } = {}) {
    const kind: ErrorKind = ERRORS[code]
    super(
      options.detail === undefined ? kind.text : `${kind.text}: ${options.detail}`,
      options.cause === undefined ? {} : { cause: options.cause }
    )
    this.name = 'LayerswarmError'
    this.code = code
    this.blame = options.blame ?? kind.blame
    this.remedy = kind.remedy
    this.detail = options.detail
  }
}

export function isLayerswarmError(error: unknown, ...codes: ErrorCode[]): error is LayerswarmError {
  return error instanceof LayerswarmError && (codes.length === 0 || codes.includes(error.code))
}

/** What went wrong, in one line for a person or a log, whatever was thrown. */
export function describeError(error: unknown): string {
  if (error instanceof LayerswarmError) {
    return error.cause === undefined ? error.message : `${error.message} (${describeError(error.cause)})`
  }
  if (!(error instanceof Error)) return String(error)
  // Where a name has several addresses and none of them answers, the error has no text of its own.
  if (error instanceof AggregateError && error.message === '') return [...new Set(error.errors.map(describeError))].join(', ')
  return error.message
}
