import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'

interface Locked {
  readonly link?: true
  readonly integrity?: string
  readonly resolved?: string
}

test('every package of the lockfile is known by its hash, those for other machines too, and at no certain registry', async () => {
  const { packages } = JSON.parse(await readFile(new URL('../../package-lock.json', import.meta.url), 'utf8')) as {
    packages: Record<string, Locked>
  }
  const installed = Object.entries(packages).filter(([path, { link }]) => path.includes('node_modules/') && link !== true)
  assert.ok(installed.length > 100)
  assert.deepEqual(
    installed.filter(([, { integrity, resolved }]) => !/^sha512-/.test(integrity ?? '') || resolved !== undefined).map(([path]) => path),
    []
  )
})
