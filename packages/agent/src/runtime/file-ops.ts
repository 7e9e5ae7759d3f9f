import { chmod, chown, mkdir, open, rename, rm, rmdir, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { syncFolder } from '@layerswarm/core/sync-folder.ts'

/** Whose file it is and who may read it. */
export interface Ownership {
  readonly mode: number
  readonly uid?: number
  readonly gid?: number
}

/** Each of these changes the disk in one step, which a crash leaves done or not done. */
export interface FileOps {
  replace(path: string, content: Uint8Array | string, ownership: Ownership): Promise<void>
  /** No error where there is none. */
  remove(path: string): Promise<void>
  makeDir(path: string, mode: number): Promise<void>
  /** @returns false when it is not empty */
  removeDir(path: string): Promise<boolean>
}

/** Beside the file, so that the rename stays on its file system; ends in nothing that a runtime would read. */
export function temporaryOf(path: string): string {
  return `${path}.layerswarm-new`
}

export const diskOps: FileOps = {
  async replace(path, content, { mode, uid, gid }) {
    const temporary = temporaryOf(path)
    await rm(temporary, { force: true })
    {
      await using file = await open(temporary, 'wx', 0o600)
      await file.writeFile(content)
      if (uid !== undefined && gid !== undefined) await chown(temporary, uid, gid)
      await chmod(temporary, mode)
      await file.sync()
    }
    await rename(temporary, path)
    await syncFolder(dirname(path))
  },
  async remove(path) {
    await unlink(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error
    })
    await syncFolder(dirname(path))
  },
  async makeDir(path, mode) {
    try {
      await mkdir(path)
      await chmod(path, mode)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
  },
  async removeDir(path) {
    try {
      await rmdir(path)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'ENOTEMPTY' || code === 'EEXIST' || code === 'EBUSY') return false
      if (code !== 'ENOENT') throw error
    }
    return true
  }
}
