import { InvalidArgumentError } from 'commander'

/** Where the agent of this host answers commands, unless it was told otherwise. */
export const DEFAULT_AGENT = 'http://127.0.0.1:5051'
/** Where a tracker on this host answers commands. */
export const DEFAULT_TRACKER = 'http://127.0.0.1:5061'

/** @throws {InvalidArgumentError} for what is no HTTP URL */
export function readUrl(text: string): URL {
  const url = URL.parse(text)
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:') throw new InvalidArgumentError(`Not a URL, as ${DEFAULT_AGENT}.`)
  return url
}
