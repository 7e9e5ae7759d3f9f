import { readFile, statfs, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { onDisk } from './store/disk-errors.ts'

/** Of what is free at the first start; the rest is for the runtime that unpacks what this agent serves. */
const SHARE_OF_FREE = 0.8
const FILE = 'max-disk'

/**
 * How many bytes of blobs the store may hold when the operator does not say: a share of what was free when the data
 * directory was first used. It is written down, since later the store's own blobs would count as used.
 * @throws {LayerswarmError} STORE_FULL, STORE_FAILED
 */
export async function defaultMaxBytes(dataDir: string): Promise<number> {
  const path = join(dataDir, FILE)
  const known = Number(await readFile(path, 'utf8').catch(() => ''))
  if (Number.isSafeInteger(known) && known > 0) return known
  return await onDisk(async () => {
    const { bavail, bsize } = await statfs(dataDir)
    const bytes = Math.max(1, Math.floor(bavail * bsize * SHARE_OF_FREE))
    await writeFile(path, `${bytes}\n`)
    return bytes
  })
}
