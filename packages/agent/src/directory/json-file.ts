import { readFile } from 'node:fs/promises'
import { replaceFile } from '@layerswarm/core/replace-file.ts'
import type { z } from 'zod'

/**
 * Reads a small file of this agent's own.
 * @returns undefined when it is not there, or is not what it should be
 */
export async function readJson<T>(path: string, schema: z.ZodType<T>): Promise<T | undefined> {
  try {
    const parsed = schema.safeParse(JSON.parse(await readFile(path, 'utf8')))
    return parsed.success ? parsed.data : undefined
  } catch {
    return undefined
  }
}

/** Replaces the file: a crash leaves the old one or the new one whole. */
export async function writeJson(path: string, value: unknown): Promise<void> {
  await replaceFile(path, JSON.stringify(value))
}
