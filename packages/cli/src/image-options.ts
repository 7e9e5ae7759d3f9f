/** Options that several commands on images take. */
import { agentOptions } from '@layerswarm/agent/config.ts'
import { addOptions } from '@layerswarm/core/config/command-options.ts'
import { describeError } from '@layerswarm/core/errors.ts'
import { parsePlatform } from '@layerswarm/core/image/platform.ts'
import { type Command, InvalidArgumentError, Option } from 'commander'

/** `all`, or platforms as users write them. */
export type PlatformsOption = 'all' | readonly string[]

/**
 * @param whose what is done with the layers of the platforms
 * @param byDefault whose platform counts where none is given
 */
export function platformOption(whose: string, byDefault = "this host's"): Option {
  return new Option('--platform <OS/ARCH>', `${whose}, or all (repeatable; default: ${byDefault})`).argParser(readPlatform)
}

/** Options of the agent that count where none runs. */
export function addLocalOptions(command: Command): Command {
  return addOptions(command, agentOptions, ['registry', 'insecureRegistry', 'containerdAddress', 'containerdRoot', 'dataDir']).addHelpText(
    'after',
    '\nAn agent uses its own configuration; registries, containerd, data directory\nand file are for a host where none runs.'
  )
}

function readPlatform(text: string, earlier?: PlatformsOption): PlatformsOption {
  if (text === 'all' || earlier === 'all') return 'all'
  try {
    parsePlatform(text)
  } catch (error) {
    throw new InvalidArgumentError(`${describeError(error)}.`)
  }
  return [...(earlier ?? []), text]
}
