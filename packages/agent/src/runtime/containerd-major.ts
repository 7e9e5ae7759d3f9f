import { createReadStream } from 'node:fs'
import type { ContainerdMajor } from './containerd-config.ts'

/** The Go module of a containerd, which it carries for its version message. */
const MODULE = Buffer.from('github.com/containerd/containerd')
const MODULE_2 = Buffer.from('github.com/containerd/containerd/v2')
const CHUNK = 4 * 1024 * 1024
/** Several times what containerd has. */
const MAX_PROGRAM = 512 * 1024 * 1024

/**
 * Which containerd a program is, by what stands in it: to start it only to ask would give whoever owns a process of that
 * name the rights of the caller.
 * @returns undefined where it cannot be read, or is no containerd
 */
export async function containerdMajor(program: string): Promise<ContainerdMajor | undefined> {
  let tail = Buffer.alloc(0)
  let major: ContainerdMajor | undefined
  try {
    for await (const chunk of createReadStream(program, { end: MAX_PROGRAM, highWaterMark: CHUNK })) {
      const bytes = Buffer.concat([tail, chunk])
      if (bytes.includes(MODULE_2)) return 2
      if (bytes.includes(MODULE)) major = 1
      tail = bytes.subarray(-MODULE_2.length)
    }
  } catch {
    return undefined
  }
  return major
}
