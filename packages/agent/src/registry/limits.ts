/** A registry that does not take a connection within this time counts as unreachable; other sources are tried meanwhile. */
export const CONNECT_TIMEOUT_MS = 3_000
/** Registries that fetch from slow object stores need some seconds for the first byte. */
export const HEADERS_TIMEOUT_MS = 10_000
/** Longest silence within a body that somebody reads. */
export const BODY_TIMEOUT_MS = 10_000
/**
 * Connections per origin. Enough for the leased runs of a few layers at a time to hide the first-byte time; more would
 * only take bandwidth from each other, and registries count connections against a client. Further requests queue.
 */
export const CONNECTIONS_PER_ORIGIN = 16
/** A blob store's connection is kept between the runs of a blob, and not much longer. */
export const KEEP_ALIVE_MS = 10_000

/** What containers/image and containerd follow at most, too. */
export const MAX_REDIRECTS = 5
/** Requests made for one answer before the failure is told: one blip of a registry must not fail a pull. */
export const MAX_ATTEMPTS = 3
/** Times a body is taken up again after a break, each after progress: bounds the life of a connection that keeps breaking. */
export const MAX_RESUMES = 5
export const BACKOFF_FIRST_MS = 200
export const BACKOFF_MAX_MS = 2_000

/** Wait after a 429 that names no time. */
export const BUSY_DEFAULT_MS = 5_000
/** Longest wait that is honoured: a registry cannot shut this host out for good. */
export const BUSY_MAX_MS = 3_600_000

/** A registry may hash, or copy to its object store, all of a blob before it answers the last byte, ms. */
export const UPLOAD_ANSWER_MS = 120_000
/** Times that a blob's upload is taken up again after a break, or begun anew: one that breaks more often will not end. */
export const MAX_UPLOAD_BREAKS = 5
/** For a registry to forget an upload, ms: often when this host is about to end, or the registry does not answer at all. */
export const CANCEL_MS = 2_000
/** Longest error document of a registry that is looked into. */
export const MAX_ERROR_BYTES = 64 * 1024

/** Tokens are a few KiB; some with many groups in them reach 100 KiB. */
export const MAX_TOKEN_BYTES = 1024 * 1024
/** What a token without `expires_in` lives (distribution's token specification), seconds. */
export const TOKEN_DEFAULT_SECONDS = 60
/** Part of a token's life after which it is replaced, so that none runs out on its way. */
export const TOKEN_USED_SHARE = 0.9
/** Repositories and tokens remembered; one image needs one of each. */
export const MAX_REMEMBERED = 1_000

/** Bodies of error replies that are read to keep their connection; larger ones cost more than a new connection. */
export const DRAIN_BYTES = 16 * 1024
