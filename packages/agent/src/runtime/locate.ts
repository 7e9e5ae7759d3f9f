import { isUtf8 } from 'node:buffer'
import { createHash } from 'node:crypto'
import { lstat, readFile, realpath, stat } from 'node:fs/promises'
import { basename, dirname, join, sep } from 'node:path'
import type { Ownership } from './file-ops.ts'
import type { Problem } from './setup.ts'

/** Configuration files have some KiB; what is larger is not one. */
const MAX_BYTES = 4 * 1024 * 1024

/** A file as it lies on the disk now. */
export interface FoundFile {
  /** With symbolic links followed. */
  readonly realPath: string
  /** Undefined where there is none. */
  readonly text: string | undefined
  readonly ownership: Ownership | undefined
}

/**
 * Finds a file, which must lie in `tree` also when its symbolic links are followed: what lies elsewhere may be shared
 * with others.
 * @throws what the file system throws, as EACCES
 */
export async function locate(path: string, tree: string): Promise<FoundFile | Problem> {
  const realPath = await realPathOf(path)
  if (!`${realPath}`.startsWith(`${await realPathOf(tree)}${sep}`)) {
    return {
      problem: `${path} leads out of ${tree}, to ${realPath}`,
      remedy: 'replace the symbolic link by the file itself, then run this again'
    }
  }
  const found = await stat(realPath).catch(absent)
  if (found === undefined) {
    const link = await lstat(realPath).catch(absent)
    if (link !== undefined) return { problem: `${realPath} is a symbolic link to nothing`, remedy: 'remove the link, then run this again' }
    return { realPath, text: undefined, ownership: undefined }
  }
  if (!found.isFile() || found.size > MAX_BYTES) {
    return { problem: `${path} is not a configuration file`, remedy: 'move it out of the way, then run this again' }
  }
  const content = await readFile(realPath)
  if (!isUtf8(content)) return { problem: `${path} is not UTF-8 text`, remedy: 'correct the file, then run this again' }
  return { realPath, text: content.toString('utf8'), ownership: { mode: found.mode & 0o7777, uid: found.uid, gid: found.gid } }
}

/** The real path of what need not exist yet. */
export async function realPathOf(path: string): Promise<string> {
  return (await realpath(path).catch(absent)) ?? (path === dirname(path) ? path : join(await realPathOf(dirname(path)), basename(path)))
}

export function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR') throw error
}

export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
