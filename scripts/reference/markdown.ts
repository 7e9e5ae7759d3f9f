export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|').replaceAll('\n', ' ')).join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}

export function code(text: string): string {
  return `\`${text}\``
}

export function fence(text: string, language = 'text'): string {
  return `\`\`\`${language}\n${text}\n\`\`\``
}

/** The text of the block comment that a source file opens with. */
export function headComment(source: string, file: string): string {
  const comment = /^\/\*\*\n([\s\S]*?)\n \*\//.exec(source)?.[1]
  if (comment === undefined) throw new Error(`${file} does not open with a block comment`)
  return comment.replaceAll(/^ \* ?/gm, '')
}
