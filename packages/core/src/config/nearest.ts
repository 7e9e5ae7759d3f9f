/** Edits (insert, delete, replace) that turn one text into the other. */
function distance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, column) => column)
  for (const [line, letter] of [...from].entries()) {
    const next = [line + 1]
    for (let column = 1; column <= to.length; column++) {
      const replaced = (row[column - 1] ?? 0) + (letter === to[column - 1] ? 0 : 1)
      next.push(Math.min(replaced, (row[column] ?? 0) + 1, (next[column - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[to.length] ?? 0
}

/** The candidate that was probably meant; the first among equals. */
export function nearest(text: string, candidates: readonly string[]): string | undefined {
  return candidates.map((candidate) => ({ candidate, edits: distance(text, candidate) })).sort((a, b) => a.edits - b.edits)[0]?.candidate
}
