import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { createReadStream, existsSync, lstatSync, readdirSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'

/** The SHA-256 of a file's bytes, as `sha256:…`. */
export async function fileDigest(file: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(file, { highWaterMark: 1024 * 1024 }), hash)
  return `sha256:${hash.digest('hex')}`
}

/** Checks that every file of a `blobs/sha256` folder holds the bytes that its name promises; returns their digests, sorted. */
export async function verifyBlobs(dir: string): Promise<string[]> {
  const digests: string[] = []
  for (const name of existsSync(dir) ? readdirSync(dir) : []) {
    const digest = await fileDigest(join(dir, name))
    assert.equal(digest, `sha256:${name}`, `${join(dir, name)} holds other bytes than its name says`)
    digests.push(digest)
  }
  return digests.sort()
}

/** One digest over names, modes, links and contents of everything below a folder. */
export async function treeDigest(dir: string): Promise<string> {
  const hash = createHash('sha256')
  const walk = async (path: string): Promise<void> => {
    for (const name of readdirSync(join(dir, path)).sort()) {
      const inner = join(path, name)
      const stat = lstatSync(join(dir, inner))
      hash.update(`${inner}\0${stat.mode.toString(8)}\0`)
      if (stat.isDirectory()) await walk(inner)
      else if (stat.isSymbolicLink()) hash.update(readlinkSync(join(dir, inner)))
      else if (stat.isFile()) hash.update(await fileDigest(join(dir, inner)))
    }
  }
  await walk('.')
  return hash.digest('hex')
}
