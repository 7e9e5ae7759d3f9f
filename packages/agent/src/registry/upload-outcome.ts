import { LayerswarmError } from '@layerswarm/core/errors.ts'
import { readAll } from './body.ts'
import { MAX_ERROR_BYTES } from './limits.ts'
import type { Requests } from './requests.ts'
import { discard, type HttpResponse, header } from './transport.ts'

/** A registry's answer to a step of an upload. */
export interface UploadOutcome {
  readonly status: number
  /** Error codes of the distribution specification; empty for a success. */
  readonly codes: readonly string[]
  /** What it says of its refusal. */
  readonly text: string
  readonly location: string | undefined
  readonly digest: string | undefined
  /** The manifest that a stored one refers to, if the registry lists its referrers. */
  readonly subject: string | undefined
}

/** Refusals that say in their body what is wrong; the others mean the same whatever was asked. */
export function seen(status: number): boolean {
  return status >= 400 && status < 500 && ![401, 403, 408, 429].includes(status)
}

export async function outcomeOf(requests: Pick<Requests, 'content'>, registry: string, answer: HttpResponse): Promise<UploadOutcome> {
  const { status, headers } = answer
  const told = {
    status,
    location: header(headers, 'location'),
    digest: header(headers, 'docker-content-digest'),
    subject: header(headers, 'oci-subject')
  }
  if (status < 400) {
    discard(answer)
    return { ...told, codes: [], text: '' }
  }
  const errors = errorsIn(await readAll(registry, requests.content(registry, answer), MAX_ERROR_BYTES))
  return { ...told, codes: errors.map(({ code }) => code), text: errors.map(({ code, message }) => `${code} ${message}`.trim()).join(', ') }
}

/** @returns the error that a refusal is */
export function refusedBy(registry: string, { status, text }: UploadOutcome): LayerswarmError {
  const said = text === '' ? '' : `: ${text}`
  if (status === 405) return new LayerswarmError('REGISTRY_DENIED', { detail: `${registry} takes no uploads${said}` })
  // An upload that is not found, or stands elsewhere, is the registry's loss.
  const refused = status >= 400 && status < 500 && status !== 404 && status !== 416
  return new LayerswarmError(refused ? 'REGISTRY_REFUSED' : 'REGISTRY_FAILED', {
    detail: `${registry} answered ${status} to an upload${said}`
  })
}

/** @throws {LayerswarmError} DIGEST_MISMATCH when the registry says that it stored something else */
export function checkDigest(registry: string, { digest }: UploadOutcome, expected: string): void {
  if (digest === undefined || digest === expected) return
  throw new LayerswarmError('DIGEST_MISMATCH', { detail: `${registry} stored ${digest} in place of ${expected}` })
}

/** Longest text of a registry that goes into a message. */
const MAX_TEXT = 200

function errorsIn(body: Uint8Array): { code: string; message: string }[] {
  try {
    const { errors } = JSON.parse(Buffer.from(body).toString())
    if (!Array.isArray(errors)) return []
    return errors.slice(0, 5).map(({ code, message }) => ({ code: printable(code), message: printable(message) }))
  } catch {
    return []
  }
}

function printable(text: unknown): string {
  return typeof text === 'string' ? text.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, MAX_TEXT) : ''
}
