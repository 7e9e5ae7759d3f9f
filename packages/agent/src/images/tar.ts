/** The tar format (POSIX pax interchange format, and what GNU tar adds for long names): headers only, content is read beside them. */
import type { FileHandle } from 'node:fs/promises'
import { posix } from 'node:path'
import { LayerswarmError } from '@layerswarm/core/errors.ts'

const BLOCK = 512
/** Longest extended header: names and a few numbers. */
const MAX_EXTENDED = 1024 * 1024
/** More files than any image archive has. */
const MAX_ENTRIES = 100_000
/** The largest size that eleven octal digits hold; beyond that, GNU's base-256 form is used. */
const MAX_OCTAL = 0o77777777777

/** One file of an archive: where its bytes lie, or which other file it is. */
export interface TarEntry {
  readonly path: string
  readonly start: number
  readonly size: number
  /** Another path below the root of the archive, for a link. */
  readonly link: string | undefined
}

/** A header for a regular file of `size` bytes. */
export function tarHeader(path: string, size: number): Buffer {
  const header = Buffer.alloc(BLOCK)
  header.write(path, 0, 100, 'latin1')
  header.write('0000644\0', 100)
  header.write('0000000\0', 108)
  header.write('0000000\0', 116)
  if (size <= MAX_OCTAL) header.write(`${size.toString(8).padStart(11, '0')}\0`, 124)
  else {
    header[124] = 0x80
    header.writeBigUInt64BE(BigInt(size), 128)
  }
  header.write(`${'0'.repeat(11)}\0`, 136)
  header.write('0', 156)
  header.write('ustar\0' + '00', 257, 'latin1')
  header.write(`${sumOf(header).toString(8).padStart(6, '0')}\0 `, 148)
  return header
}

/** Zeros that fill up a file's last block. */
export function tarPadding(size: number): Buffer {
  return Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK)
}

/** The end of an archive. */
export const TAR_END = Buffer.alloc(2 * BLOCK)

function sumOf(header: Buffer): number {
  let sum = 8 * 0x20
  for (const [at, byte] of header.subarray(0, BLOCK).entries()) if (at < 148 || at >= 156) sum += byte
  return sum
}

/**
 * Lists the files of an archive without reading them.
 * @throws {LayerswarmError} SOURCE_INVALID for anything but a plain tar archive that is whole
 */
export async function* tarEntries(file: FileHandle, size: number): AsyncGenerator<TarEntry> {
  let extended: { path?: string; link?: string; size?: number } = {}
  let at = 0
  for (let count = 0; at + BLOCK <= size; count++) {
    if (count === MAX_ENTRIES) throw invalid('it has too many files')
    const header = await bytesAt(file, at, BLOCK)
    if (header.every((byte) => byte === 0)) return
    if (Number.parseInt(text(header, 148, 8), 8) !== sumOf(header))
      throw invalid(at === 0 ? 'it is not a tar archive, or compressed' : 'it is damaged')
    const start = at + BLOCK
    const length = extended.size ?? numberAt(header, 124)
    const type = String.fromCharCode(header[156] ?? 0)
    if (start + length > size) throw invalid('it is cut off')
    at = start + Math.ceil(length / BLOCK) * BLOCK
    if (type === 'x' || type === 'L' || type === 'K') {
      if (length > MAX_EXTENDED) throw invalid('a header is too long')
      const value = await bytesAt(file, start, length)
      if (type === 'x') extended = { ...extended, ...paxOf(value) }
      else extended = { ...extended, [type === 'L' ? 'path' : 'link']: value.toString().replace(/\0.*$/s, '') }
      continue
    }
    const prefix = header.toString('latin1', 257, 262) === 'ustar' ? text(header, 345, 155) : ''
    const path = clean(extended.path ?? (prefix === '' ? text(header, 0, 100) : `${prefix}/${text(header, 0, 100)}`))
    const target = extended.link ?? text(header, 157, 100)
    extended = type === 'g' ? extended : {}
    if (type === '0' || type === '\0' || type === '7') yield { path, start, size: length, link: undefined }
    // A hard link names its target from the root, a symbolic one from where it lies.
    else if (type === '1') yield { path, start, size: 0, link: clean(target) }
    else if (type === '2') yield { path, start, size: 0, link: clean(posix.join(posix.dirname(path), target)) }
  }
}

function paxOf(records: Buffer): { path?: string; link?: string; size?: number } {
  const found: { path?: string; link?: string; size?: number } = {}
  let at = 0
  while (at < records.byteLength) {
    const space = records.indexOf(' ', at)
    const length = Number(records.toString('latin1', at, space))
    if (space === -1 || !Number.isInteger(length) || length <= space - at) throw invalid('an extended header is damaged')
    const record = records.toString('utf8', space + 1, at + length - 1)
    const equals = record.indexOf('=')
    const [key, value] = [record.slice(0, equals), record.slice(equals + 1)]
    if (key === 'path') found.path = value
    else if (key === 'linkpath') found.link = value
    else if (key === 'size') found.size = sizeOf(Number(value))
    at += length
  }
  return found
}

function sizeOf(value: number): number {
  if (!Number.isSafeInteger(value) || value < 0) throw invalid('a file has no valid size')
  return value
}

function numberAt(header: Buffer, at: number): number {
  if (((header[at] ?? 0) & 0x80) !== 0) return sizeOf(Number(header.readBigUInt64BE(at + 4)))
  const digits = text(header, at, 12).trim()
  return sizeOf(digits === '' ? 0 : Number.parseInt(digits, 8))
}

function text(header: Buffer, at: number, length: number): string {
  return header.toString('utf8', at, at + length).replace(/\0.*$/s, '')
}

/** Paths below the root, however they are written. */
function clean(path: string): string {
  return posix.join('/', path).slice(1)
}

async function bytesAt(file: FileHandle, at: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length)
  const { bytesRead } = await file.read(buffer, 0, length, at)
  if (bytesRead < length) throw invalid('it is cut off')
  return buffer
}

function invalid(why: string): LayerswarmError {
  return new LayerswarmError('SOURCE_INVALID', { detail: `the archive cannot be read: ${why}` })
}
