import { LayerswarmError } from '@layerswarm/core/errors.ts'
import type { z } from 'zod'

/** What a request says, by its schema. @throws {LayerswarmError} REQUEST_INVALID */
export function parsed<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const issues = result.error.issues.map(({ path, message }) => `${path.join('.') || 'body'}: ${message}`)
  throw new LayerswarmError('REQUEST_INVALID', { detail: issues.join('; ') })
}
