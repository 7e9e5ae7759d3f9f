/** The token that a tracker wants to see before it changes something. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { standaloneOptions } from '@layerswarm/agent/config.ts'
import { commonOptions } from '@layerswarm/core/config/common-options.ts'
import { loadConfig, TOKEN_VARIABLE } from '@layerswarm/core/config/load.ts'
import { hostFacts } from '@layerswarm/core/config/options.ts'
import { describeError, LayerswarmError } from '@layerswarm/core/errors.ts'
import { trackerOptions } from '@layerswarm/tracker/config.ts'
import { type Command, Option } from 'commander'
import { trackerDataDir } from './daemon-options.ts'

export function addTokenOption(command: Command): Command {
  return command
    .addOption(new Option('--token-file <FILE>', "the tracker's token (default: LAYERSWARM_TOKEN, then what a tracker on this host keeps)"))
    .addHelpText(
      'after',
      `\nThe tracker keeps its token in its data directory, as\n${tokenFileIn('/var/lib/layerswarm')}, readable by its owner alone.\nElsewhere, give a copy with --token-file, or its content in ${TOKEN_VARIABLE}.`
    )
}

/**
 * The token: from `file`, else from the environment, else from the data directory of a tracker on this host.
 * @throws {LayerswarmError} TOKEN_INVALID
 */
export async function readToken(file: string | undefined): Promise<string> {
  const inEnvironment = process.env[TOKEN_VARIABLE]
  if (file === undefined && inEnvironment) return sendable(inEnvironment, TOKEN_VARIABLE)
  const path = file ?? tokenFileIn(await dataDirHere())
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw new LayerswarmError('TOKEN_INVALID', { detail: describeError(error) })
  })
  return sendable(text, path)
}

function tokenFileIn(dataDir: string): string {
  return join(trackerDataDir(dataDir), 'token')
}

/** Where a tracker on this host would keep its data, be it one of its own or that of a standalone agent. */
async function dataDirHere(): Promise<string> {
  for (const load of [() => loadConfig(trackerOptions), () => loadConfig(standaloneOptions)]) {
    // Variables and files of the other daemon are errors to one.
    const loaded = await load().catch(() => undefined)
    if (loaded !== undefined) return loaded.config.dataDir
  }
  return commonOptions.dataDir.default({}, hostFacts())
}

/** @throws {LayerswarmError} TOKEN_INVALID for what could not stand in a header */
function sendable(text: string, from: string): string {
  const token = text.trim()
  if (/^[A-Za-z0-9_-]+$/.test(token)) return token
  throw new LayerswarmError('TOKEN_INVALID', { detail: `there is none in ${from}` })
}
