/**
 * What install adds to a TOML file is a block of lines between two marks. Lines that it replaces stay inside as
 * comments, so that a block can be taken out without knowing the original, whatever was edited around it.
 */
const START = '# >>> layerswarm >>>'
const END = '# <<< layerswarm <<<'
const WAS = '# was: '
const NOTE = ' written by "layerswarm mirror install", taken out by "layerswarm mirror uninstall"'

/** The line end that a text uses. */
export function lineEnd(text: string): '\n' | '\r\n' {
  return text.includes('\r\n') ? '\r\n' : '\n'
}

/** @param replaced lines that the block stands for, without their ends */
export function block(lines: readonly string[], eol: string, replaced: readonly string[] = []): string {
  return [`${START}${NOTE}`, ...replaced.map((line) => WAS + line), ...lines, END].map((line) => line + eol).join('')
}

/** The text without blocks. One without its end mark is left alone: where it ends is anybody's guess. */
export function withoutBlocks(text: string): string {
  const kept: string[] = []
  let open: string[] | undefined
  for (const line of text.split(/(?<=\n)/)) {
    const bare = line.trim()
    if (open === undefined && bare.startsWith(START)) open = [line]
    else if (open === undefined) kept.push(line)
    else if (bare === END) {
      kept.push(...open.filter((inner) => inner.startsWith(WAS)).map((inner) => inner.slice(WAS.length)))
      open = undefined
    } else open.push(line)
  }
  return [...kept, ...(open ?? [])].join('')
}

/** Inserts whole lines at an offset where a line begins, or at the end of the text. */
export function insertAt(text: string, offset: number, lines: string): string {
  const head = text.slice(0, offset)
  const gap = head === '' || head.endsWith('\n') ? '' : lineEnd(text)
  return head + gap + lines + text.slice(offset)
}
