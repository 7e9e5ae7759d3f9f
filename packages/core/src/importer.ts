import type { Digest } from './digest.ts'

/**
 * Which of the `of` gateways of a zone imports a run of a blob from other zones: all hosts and the tracker compute the
 * same. Each blob begins at another one, else a single gateway would import all blobs of one run.
 */
export function importerOf(blob: Digest, run: number, of: number): number {
  return (run + Number.parseInt(blob.slice(-8), 16)) % of
}
