import { LayerswarmError } from '@layerswarm/core/errors.ts'
import type { Abortable, DirectoryEvent, PeerDirectory } from '../ports.ts'
import { EventFeed } from './event-feed.ts'

/** The directory of an agent that was given no tracker: it knows nobody, and says so at once. */
export class OfflineDirectory implements PeerDirectory {
  readonly connected = false
  readonly trusted: ReadonlySet<string> = new Set()
  readonly #feed = new EventFeed()

  async plan(): Promise<never> {
    throw new LayerswarmError('TRACKER_UNREACHABLE', { detail: 'this agent was started without --tracker' })
  }

  announce(): void {}

  tell(): void {}

  events(options: Abortable = {}): AsyncIterable<DirectoryEvent> {
    return this.#feed.subscribe(options)
  }
}
