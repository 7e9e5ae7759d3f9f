import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { link, mkdir, open, readFile, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { describeError, LayerswarmError } from '@layerswarm/core/errors.ts'

const FILE_NAME = 'token'
const TOKEN_BYTES = 32
const FORM = /^[A-Za-z0-9_-]{32,256}\n?$/

/**
 * What whoever changes something at this tracker has to show. Made at the first start, readable by its owner alone.
 * @throws {LayerswarmError} TOKEN_FAILED
 */
export async function loadToken(dataDir: string): Promise<string> {
  const path = join(dataDir, FILE_NAME)
  try {
    const kept = await readToken(path)
    if (kept !== undefined) return kept
    await mkdir(dataDir, { recursive: true })
    await writeToken(path, randomBytes(TOKEN_BYTES).toString('base64url'))
    const made = await readToken(path)
    if (made === undefined) throw new Error('the new file is gone')
    return made
  } catch (error) {
    throw new LayerswarmError('TOKEN_FAILED', { detail: `${path}: ${describeError(error)}`, cause: error })
  }
}

/**
 * Refuses a request that changes something and does not show the token.
 * @param authorization the header, `Bearer TOKEN`
 * @throws {LayerswarmError} TOKEN_INVALID
 */
export function checkToken(token: string, authorization: string | undefined): void {
  const shown = /^Bearer +(\S+)$/i.exec(authorization ?? '')?.[1]
  if (shown === undefined || !timingSafeEqual(hashOf(shown), hashOf(token))) throw new LayerswarmError('TOKEN_INVALID')
}

/** Of one length, whatever was shown. */
function hashOf(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

async function readToken(path: string): Promise<string | undefined> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (text !== undefined && !FORM.test(text)) throw new Error('not a token: at least 32 letters, digits, dashes and underscores')
  return text?.trimEnd()
}

/** A crash leaves the whole file or none; of two processes that start at once, the first one's token stays. */
async function writeToken(path: string, token: string): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}`
  try {
    await using file = await open(temporary, 'wx', 0o600)
    await file.writeFile(`${token}\n`)
    await file.sync()
    await link(temporary, path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  } finally {
    await unlink(temporary).catch(() => undefined)
  }
}
