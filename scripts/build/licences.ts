import { globSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

const PACKAGE_FOLDER = /^.*node_modules\/(?:@[^/]+\/)?[^/]+/

/**
 * The licences of the packages that `files` (paths below `root`) belong to, as they ask to be given with copies.
 * @throws for a package that names no licence
 */
export async function licenceTexts(root: string, files: readonly string[]): Promise<string> {
  const folders = new Set(files.flatMap((file) => PACKAGE_FOLDER.exec(file)?.[0] ?? []))
  const texts = await Promise.all([...folders].sort().map((folder) => licenceText(join(root, folder))))
  return `This program contains the following packages.\n\n${texts.join('\n')}`
}

async function licenceText(folder: string): Promise<string> {
  const { name, version, license } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'))
  if (typeof license !== 'string') throw new Error(`${name} names no licence`)
  const files = globSync('{licen[cs]e,LICEN[CS]E,Licen[cs]e,NOTICE,COPYING}*', { cwd: folder }).sort()
  const texts = await Promise.all(files.map((file) => readFile(join(folder, file), 'utf8')))
  return `${'-'.repeat(80)}\n${name} ${version}, ${license}\n\n${texts.map((text) => `${text.trim()}\n`).join('\n')}`
}
