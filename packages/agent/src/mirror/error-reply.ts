/** The one place where a failure becomes an HTTP answer. */
import { type ErrorCode, LayerswarmError } from '@layerswarm/core/errors.ts'

/** What the request was about: a miss is called after it. */
export type Subject = 'blob' | 'manifest' | 'repository' | 'push'

export interface ErrorReply {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  /** What the log calls the outcome. */
  readonly result: 'missed' | 'refused' | 'failed'
}

interface Meaning {
  readonly status: number
  /** The code of the OCI distribution specification; a miss is named after its subject where none is given. */
  readonly code?: string
}

const MISS: Meaning = { status: 404 }
const TROUBLE: Meaning = { status: 503, code: 'UNAVAILABLE' }
const LATE: Meaning = { status: 504, code: 'UNAVAILABLE' }

/**
 * What a client does next decides the status. A miss (404) sends every client to the registry at once, so it is also
 * the answer where the registry refuses this host: the client may hold credentials of its own. Trouble that passes is
 * 503 or 504, which containerd does not repeat. Never 429 or 408, which clients repeat for half a minute, and never 401
 * with a challenge, to which containerd and docker send the user's password.
 */
const MEANINGS: Partial<Record<ErrorCode, Meaning>> = {
  DIGEST_INVALID: { status: 400, code: 'DIGEST_INVALID' },
  NAME_INVALID: { status: 400, code: 'NAME_INVALID' },
  TAG_INVALID: { status: 400, code: 'TAG_INVALID' },
  NAMESPACE_INVALID: { status: 400, code: 'NAME_INVALID' },
  REGISTRY_NOT_ALLOWED: { status: 404, code: 'NAME_UNKNOWN' },
  METHOD_UNSUPPORTED: { status: 405, code: 'UNSUPPORTED' },
  PUSH_OFF: { status: 405, code: 'UNSUPPORTED' },
  PUSH_UNNAMED: { status: 400, code: 'NAME_INVALID' },
  ORIGIN_NOT_ALLOWED: { status: 403, code: 'DENIED' },
  UPLOAD_UNKNOWN: { status: 404, code: 'BLOB_UPLOAD_UNKNOWN' },
  UPLOAD_RANGE: { status: 416, code: 'BLOB_UPLOAD_INVALID' },
  UPLOAD_MISMATCH: { status: 400, code: 'DIGEST_INVALID' },
  MANIFEST_TOO_LARGE: { status: 413, code: 'SIZE_INVALID' },
  REGISTRY_REFUSED: { status: 403, code: 'DENIED' },
  BLOB_UNKNOWN: { status: 404, code: 'BLOB_UNKNOWN' },
  MANIFEST_UNKNOWN: { status: 404, code: 'MANIFEST_UNKNOWN' },
  MANIFEST_INVALID: { status: 404, code: 'MANIFEST_INVALID' },
  RANGE_UNSATISFIABLE: { status: 416, code: 'SIZE_INVALID' },
  PATH_UNKNOWN: { status: 404, code: 'NOT_FOUND' },
  HEADERS_INVALID: { status: 400, code: 'UNSUPPORTED' },
  HEADERS_TOO_LARGE: { status: 431, code: 'UNSUPPORTED' },
  NOT_FOUND: MISS,
  REGISTRY_DENIED: MISS,
  STALLED: LATE
}

/** A push has nowhere else to go: it is told what is wrong, by statuses that clients do not repeat. */
const PUSH_MEANINGS: Partial<Record<ErrorCode, Meaning>> = {
  REGISTRY_DENIED: { status: 403, code: 'DENIED' },
  MANIFEST_INVALID: { status: 400, code: 'MANIFEST_INVALID' },
  BLOB_UNKNOWN: { status: 400, code: 'MANIFEST_BLOB_UNKNOWN' }
}

const MISS_CODES: Readonly<Record<Subject, string>> = {
  blob: 'BLOB_UNKNOWN',
  manifest: 'MANIFEST_UNKNOWN',
  repository: 'NAME_UNKNOWN',
  push: 'NAME_UNKNOWN'
}

function meaningOf(error: unknown, subject: Subject): Meaning {
  if (!(error instanceof LayerswarmError)) return { status: 500, code: 'UNKNOWN' }
  const pushed = subject === 'push' ? PUSH_MEANINGS[error.code] : undefined
  return pushed ?? MEANINGS[error.code] ?? (error.blame === 'caller' ? { status: 400, code: 'UNSUPPORTED' } : TROUBLE)
}

/**
 * The answer to a request that failed before its headers left.
 * @param extra headers that belong to this answer (`Allow`, `Content-Range`)
 */
export function errorReply(error: unknown, subject: Subject, extra: Readonly<Record<string, string>> = {}): ErrorReply {
  const { status, code = MISS_CODES[subject] } = meaningOf(error, subject)
  const known = error instanceof LayerswarmError
  const detail = known ? { code: error.code, remedy: error.remedy } : {}
  const body = JSON.stringify({ errors: [{ code, message: known ? error.message : 'the mirror failed', detail }] })
  return {
    status,
    headers: { ...extra, 'Content-Type': 'application/json', 'Content-Length': String(Buffer.byteLength(body)) },
    body,
    result: status === 404 ? 'missed' : status < 500 ? 'refused' : 'failed'
  }
}
