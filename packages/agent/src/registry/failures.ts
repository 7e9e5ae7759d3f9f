import { type ErrorCode, LayerswarmError } from '@layerswarm/core/errors.ts'

/** A failed attempt, and whether another one may help. */
export interface Failure {
  readonly error: LayerswarmError
  readonly again: boolean
}

/** Failures of the network that pass. A refused connection or a bad certificate is not among them: it stays so. */
const PASSING = new Set([
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
  'UND_ERR_SOCKET',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EAI_AGAIN'
])

/** Nobody who is trusted vouches for the certificate. */
const UNTRUSTED = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE'
])

function codeOf(error: unknown): string | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return typeof code === 'string' ? code : undefined
}

/**
 * What a failed exchange means. The error itself is not kept as the cause: a parser's error carries raw bytes of the
 * reply, in which a presigned address or a token may stand.
 */
export function networkFailure(registry: string, error: unknown): Failure {
  const code = codeOf(error)
  return {
    error: new LayerswarmError(isMalformed(error, code) ? 'REGISTRY_FAILED' : 'REGISTRY_UNREACHABLE', {
      detail: `${registry}: ${textOf(error, code)}${UNTRUSTED.has(code ?? '') ? `; a private authority goes to certs.d/${registry}/ca.crt` : ''}`
    }),
    again: code !== undefined && PASSING.has(code)
  }
}

/** A parser or a decoder gave up: the registry was there, what it sent is no good. */
function isMalformed(error: unknown, code: string | undefined): boolean {
  if (error instanceof Error && error.name === 'HTTPParserError') return true
  return code !== undefined && /^(?:UND_ERR_HEADERS_OVERFLOW$|Z_|ZSTD_|ERR__)/.test(code)
}

function textOf(error: unknown, code: string | undefined): string {
  // OpenSSL's own text is file names and thread numbers.
  if (code?.startsWith('ERR_SSL_') === true) return `no TLS connection (${code})`
  const text = error instanceof Error ? error.message : ''
  // The error of a name with several addresses, all refused, has no text of its own.
  if (text === '') return code ?? 'unknown failure'
  return code === undefined || text.includes(code) ? text : `${text} (${code})`
}

function codeOfStatus(status: number): ErrorCode {
  if (status === 404 || status === 410) return 'NOT_FOUND'
  if (status === 401 || status === 403) return 'REGISTRY_DENIED'
  if (status === 416) return 'SIZE_MISMATCH'
  return status === 429 ? 'REGISTRY_BUSY' : 'REGISTRY_FAILED'
}

/** What a status from 400 on means. */
export function refusal(registry: string, status: number): Failure {
  return {
    error: new LayerswarmError(codeOfStatus(status), { detail: `${registry} answered ${status}` }),
    again: status === 408 || (status >= 500 && status !== 501)
  }
}
