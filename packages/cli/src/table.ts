/** Text in columns: whole where it goes to a file or a program, fitted to the terminal's width otherwise. */

export interface Column<T> {
  readonly title: string
  readonly text: (row: T) => string
  /** Shorter, where the terminal is too narrow. */
  readonly short?: (row: T) => string
  /** Left out where the terminal is still too narrow; the highest goes first. */
  readonly dispensable?: number
  /** Cut where nothing else helps. */
  readonly cuttable?: boolean
}

const GAP = '  '

/**
 * @param width columns of the terminal; undefined for output that is no terminal
 * @returns lines, each with its end, the titles first
 */
export function tableText<T>(columns: readonly Column<T>[], rows: readonly T[], width: number | undefined): string {
  const full = columns.map((column) => ({ column, cells: rows.map(column.text) }))
  if (width === undefined || widthOf(full) <= width) return linesOf(full)
  let shown = columns.map((column) => ({ column, cells: rows.map(column.short ?? column.text) }))
  const dispensable = columns.filter((column) => column.dispensable !== undefined)
  for (const column of dispensable.sort((a, b) => (b.dispensable ?? 0) - (a.dispensable ?? 0))) {
    if (widthOf(shown) <= width) break
    shown = shown.filter((one) => one.column !== column)
  }
  const excess = widthOf(shown) - width
  return linesOf(excess <= 0 ? shown : shown.map(({ column, cells }) => ({ column, cells: column.cuttable ? cut(cells, excess) : cells })))
}

interface Shown {
  readonly column: { readonly title: string }
  readonly cells: readonly string[]
}

function cellWidth({ column, cells }: Shown): number {
  return cells.reduce((most, cell) => Math.max(most, cell.length), column.title.length)
}

function widthOf(shown: readonly Shown[]): number {
  return shown.reduce((sum, one) => sum + cellWidth(one), GAP.length * (shown.length - 1))
}

/** The end of a name tells more than its beginning. */
function cut(cells: readonly string[], excess: number): string[] {
  const most = Math.max(8, cells.reduce((longest, cell) => Math.max(longest, cell.length), 0) - excess)
  return cells.map((cell) => (cell.length <= most ? cell : `…${cell.slice(cell.length - most + 1)}`))
}

function linesOf(shown: readonly Shown[]): string {
  const rows = shown[0]?.cells.length ?? 0
  const line = (cellOf: (one: Shown) => string) =>
    `${shown
      .map((one) => cellOf(one).padEnd(cellWidth(one)))
      .join(GAP)
      .trimEnd()}\n`
  return [line(({ column }) => column.title), ...Array.from({ length: rows }, (_, at) => line(({ cells }) => cells[at] ?? ''))].join('')
}

/** Columns of the terminal that standard output is; undefined where it is none. */
export function terminalWidth(): number | undefined {
  return process.stdout.isTTY === true ? process.stdout.columns : undefined
}
