import { open } from 'node:fs/promises'

/** What a folder that is gone, and a file system that knows no such thing, answer. */
const NOTHING_TO_SYNC = ['ENOENT', 'EINVAL', 'ENOTSUP']

/** Has the names in a folder outlive a crash of the machine, as the files' own `sync` does with what is in them. */
export async function syncFolder(path: string): Promise<void> {
  try {
    await using folder = await open(path, 'r')
    await folder.sync()
  } catch (error) {
    if (!NOTHING_TO_SYNC.includes((error as NodeJS.ErrnoException).code ?? '')) throw error
  }
}
