import { isLayerswarmError, LayerswarmError } from '@layerswarm/core/errors.ts'

/** What the operating system says when a disk, a quota, or a read-only mount takes no more. */
const FULL = new Set(['ENOSPC', 'EDQUOT', 'EROFS'])

export function errnoOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}

/** STORE_FULL for a disk that takes no more, STORE_FAILED for any other failure of the data directory. */
export function diskError(error: unknown): LayerswarmError {
  if (isLayerswarmError(error)) return error
  const code = errnoOf(error)
  return new LayerswarmError(code !== undefined && FULL.has(code) ? 'STORE_FULL' : 'STORE_FAILED', {
    cause: error,
    ...(code === undefined ? {} : { detail: code })
  })
}

/** Runs `work` on the disk. @throws {LayerswarmError} STORE_FULL or STORE_FAILED for what the operating system refuses. */
export async function onDisk<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw diskError(error)
  }
}
