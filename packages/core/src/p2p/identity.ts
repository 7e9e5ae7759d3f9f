import { randomBytes } from 'node:crypto'
import { link, mkdir, open, readFile, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { generateKeyPair, privateKeyFromProtobuf, privateKeyToProtobuf } from '@libp2p/crypto/keys'
import type { PrivateKey } from '@libp2p/interface'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { describeError, LayerswarmError } from '../errors.ts'

/** Who this host is: its key, and the peer id that the key gives it. */
export interface Identity {
  readonly id: string
  readonly key: PrivateKey
}

const FILE_NAME = 'identity.key'
/** A key in libp2p's protobuf form takes 68 bytes, 92 as base64; anything much longer is another file. */
const MAX_FILE_BYTES = 1024

export function identityOf(key: PrivateKey): Identity {
  return { id: peerIdFromPrivateKey(key).toString(), key }
}

/** A new identity that is kept nowhere. */
export async function newIdentity(): Promise<Identity> {
  return identityOf(await generateKeyPair('Ed25519'))
}

/**
 * This host's identity from `identity.key` in `dataDir`: an Ed25519 key in libp2p's protobuf form, base64 on one line.
 * Where there is none, one is made and kept, readable by its owner alone.
 * @throws {LayerswarmError} IDENTITY_INVALID when the file cannot be read or written, or does not hold such a key
 */
export async function loadIdentity(dataDir: string): Promise<Identity> {
  const path = join(dataDir, FILE_NAME)
  try {
    const kept = await readKey(path)
    if (kept !== undefined) return identityOf(kept)
    await mkdir(dataDir, { recursive: true })
    await writeNewKey(path, await generateKeyPair('Ed25519'))
    const made = await readKey(path)
    if (made === undefined) throw new Error('the new file is gone')
    return identityOf(made)
  } catch (error) {
    throw new LayerswarmError('IDENTITY_INVALID', { detail: `${path}: ${describeError(error)}`, cause: error })
  }
}

async function readKey(path: string): Promise<PrivateKey | undefined> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (text === undefined) return undefined
  if (text.length > MAX_FILE_BYTES || !/^[A-Za-z0-9+/]+={0,2}\n?$/.test(text)) throw new Error('not a key file')
  const key = privateKeyFromProtobuf(Buffer.from(text, 'base64'))
  if (key.type !== 'Ed25519') throw new Error(`an ${key.type} key; an Ed25519 key is needed`)
  return key
}

/** A crash leaves the whole file or none; of two processes that start at once, the first one's key stays. */
async function writeNewKey(path: string, key: PrivateKey): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}`
  try {
    await using file = await open(temporary, 'wx', 0o600)
    await file.writeFile(`${Buffer.from(privateKeyToProtobuf(key)).toString('base64')}\n`)
    await file.sync()
    await link(temporary, path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  } finally {
    await unlink(temporary).catch(() => undefined)
  }
}
