import { hkdfSync, randomBytes } from 'node:crypto'
import { open } from 'node:fs/promises'
import { describeError, LayerswarmError } from '../errors.ts'

const KEY_BYTES = 32
/** Makes a key recognisable to people and to scanners for leaked secrets, and says how to read the rest. */
const PREFIX = 'lsk1_'
const FORMAT = /^lsk1_[A-Za-z0-9_-]{43}$/
/** A key takes 48 characters; a longer file is another one. */
const MAX_FILE_BYTES = 1024
const READABLE_BY_OTHERS = 0o044

export interface ClusterKeyFile {
  readonly key: Uint8Array
  /** Why the file is not kept as safely as it should be. */
  readonly warning?: string
}

/**
 * A new fleet secret: 256 random bits as one line of text. Never a passphrase: whoever can connect to a host can test
 * guesses against its answer offline.
 */
export function newClusterKey(): string {
  return PREFIX + randomBytes(KEY_BYTES).toString('base64url')
}

/** @throws {LayerswarmError} CLUSTER_KEY_INVALID unless `text` is one key, with or without a line end. */
export function parseClusterKey(text: string): Uint8Array {
  const line = text.trim()
  const key = Buffer.from(line.slice(PREFIX.length), 'base64url')
  if (!FORMAT.test(line) || key.byteLength !== KEY_BYTES || key.toString('base64url') !== line.slice(PREFIX.length))
    throw new LayerswarmError('CLUSTER_KEY_INVALID', { detail: `expected one line that starts with ${PREFIX}` })
  return key
}

/** @throws {LayerswarmError} CLUSTER_KEY_INVALID when the file cannot be read or does not hold a key */
export async function readClusterKey(path: string): Promise<ClusterKeyFile> {
  try {
    await using file = await open(path, 'r')
    const stat = await file.stat()
    if (!stat.isFile() || stat.size > MAX_FILE_BYTES) throw new LayerswarmError('CLUSTER_KEY_INVALID', { detail: 'not a key file' })
    const key = parseClusterKey(await file.readFile('utf8'))
    return (stat.mode & READABLE_BY_OTHERS) === 0 ? { key } : { key, warning: `${path} can be read by other users: chmod 600 ${path}` }
  } catch (error) {
    const detail = error instanceof LayerswarmError ? error.detail : describeError(error)
    throw new LayerswarmError('CLUSTER_KEY_INVALID', { detail: `${path}: ${detail}`, cause: error })
  }
}

/** What both ends of a Noise handshake must share for it to complete: 32 bytes that tell nothing of the key. */
export function noisePrologue(clusterKey: Uint8Array): Uint8Array {
  return derive(clusterKey, 'layerswarm/noise-prologue/1')
}

/** Salt of the TLS key exchanged inside Noise: a second proof of membership. */
export function tlsSalt(clusterKey: Uint8Array): Uint8Array {
  return derive(clusterKey, 'layerswarm/tls-psk-salt/1')
}

function derive(key: Uint8Array, info: string): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', key, '', info, 32))
}
