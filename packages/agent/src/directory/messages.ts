import type { AgentMessage } from '@layerswarm/core/wire/directory-protocol.ts'
import { MAX_EVIDENCE_CLAIMS, MAX_LISTED_BLOBS, MAX_LISTED_PIECES } from '@layerswarm/core/wire/fields.ts'
import type { DirectoryNote } from '../ports.ts'

/** A note as it goes on the wire: in parts where its lists are longer than one message may name. */
export function noteToMessages(note: DirectoryNote): AgentMessage[] {
  switch (note.t) {
    case 'report': {
      const { t, blob, whole } = note
      const parts = Math.max(1, Math.ceil(Math.max(note.got.length, note.spread.length) / MAX_LISTED_PIECES))
      return Array.from({ length: parts }, (_, part) => ({
        t,
        blob,
        got: slice(note.got, part),
        spread: slice(note.spread, part),
        bytes: part === 0 ? note.bytes : 0,
        ...(whole === true ? { whole } : {})
      }))
    }
    case 'release':
      return [{ ...note, runs: slice(note.runs, 0) }]
    case 'orphans':
      return [{ ...note, pieces: slice(note.pieces, 0) }]
    case 'partial':
      return [{ ...note, leases: note.leases.slice(0, MAX_LISTED_BLOBS) }]
    case 'evidence':
      return [{ ...note, claims: note.claims.slice(0, MAX_EVIDENCE_CLAIMS) }]
    default:
      return [note]
  }
}

function slice(pieces: readonly number[], part: number): number[] {
  return pieces.slice(part * MAX_LISTED_PIECES, (part + 1) * MAX_LISTED_PIECES)
}
