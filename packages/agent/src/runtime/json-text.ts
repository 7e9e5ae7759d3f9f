/** A member of the outermost object, or an element of an array: where its text is. */
interface Span {
  readonly start: number
  readonly end: number
}

export interface JsonMember extends Span {
  readonly key: string
  readonly valueStart: number
}

const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g

/** The members of the object that a valid JSON text is, in order, keys that occur twice included. */
export function membersOf(text: string): JsonMember[] {
  return itemsOf(text, 0).map(({ start, end }) => {
    const key = /^"(?:[^"\\]|\\.)*"/.exec(text.slice(start, end))?.[0] ?? '""'
    const colon = text.indexOf(':', start + key.length)
    const gap = /\S/.exec(text.slice(colon + 1))?.index ?? 0
    return { key: JSON.parse(key), start, end, valueStart: colon + 1 + gap }
  })
}

/** What stands between the commas of the object or array that begins at `offset` or at the first token after it. */
export function itemsOf(text: string, offset: number): Span[] {
  const items: Span[] = []
  let depth = 0
  let start: number | undefined
  let end = offset
  for (const { 0: token, index } of text.slice(offset).matchAll(TOKEN)) {
    const at = offset + index
    const closes = token === '}' || token === ']'
    if (closes) depth--
    if (depth === 0 && closes) {
      if (start !== undefined) items.push({ start, end })
      return items
    }
    if (depth === 1 && token === ',' && start !== undefined) {
      items.push({ start, end })
      start = undefined
    } else if (depth >= 1) start ??= at
    if (token === '{' || token === '[') depth++
    end = at + token.length
  }
  return items
}

/** The text with one of several items taken out, with the comma and the space that went with it. */
export function withoutItem(text: string, items: readonly Span[], index: number): string {
  const item = items[index]
  if (item === undefined) return text
  const [before, next] = [items[index - 1], items[index + 1]]
  if (next !== undefined) return text.slice(0, item.start) + text.slice(next.start)
  if (before !== undefined) return text.slice(0, before.end) + text.slice(item.end)
  return text.slice(0, item.start).trimEnd() + text.slice(item.end).trimStart()
}
