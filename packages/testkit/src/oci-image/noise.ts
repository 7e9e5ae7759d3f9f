import { createCipheriv, createHash } from 'node:crypto'

const CHUNK = 256 * 1024

/** `size` bytes that no compressor shrinks, the same for the same seed: the key stream of AES-CTR. */
export function* noise(seed: string, size: number): Generator<Buffer> {
  const key = createHash('sha256').update(seed).digest()
  const cipher = createCipheriv('aes-256-ctr', key, Buffer.alloc(16))
  const zeros = Buffer.alloc(Math.min(CHUNK, size))
  for (let left = size; left > 0; left -= CHUNK) yield cipher.update(zeros.subarray(0, Math.min(CHUNK, left)))
}

/** As {@link noise}, in one piece. */
export function noiseBytes(seed: string, size: number): Buffer {
  return Buffer.concat([...noise(seed, size)])
}
