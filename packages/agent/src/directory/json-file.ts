import { readFile, rename, rm, writeFile } from 'node:fs/promises'
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
  const temporary = `${path}.new`
  try {
    await writeFile(temporary, JSON.stringify(value), { mode: 0o600 })
    await rename(temporary, path)
  } finally {
    await rm(temporary, { force: true })
  }
}
