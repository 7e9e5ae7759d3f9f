/** Serves the file at `path`. @returns what the receiver needs to know to fetch it */
export type Sender = (path: string) => Promise<string>

/** Fetches all of it into `path`, verified against the SHA-256 of each 4 MiB. */
export type Receiver = (from: string, path: string, hashes: readonly string[]) => Promise<void>
