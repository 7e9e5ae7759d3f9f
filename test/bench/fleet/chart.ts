/** One line of a chart: seconds to the last host over the number of hosts. */
export interface Series {
  readonly name: string
  readonly color: string
  readonly points: readonly { readonly hosts: number; readonly seconds: number }[]
  readonly dashed?: boolean
}

const WIDTH = 720
const HEIGHT = 420
const MARGIN = { top: 52, right: 170, bottom: 52, left: 64 }
const FONT = 'font-family="system-ui, sans-serif" font-size="13"'
const TICKS = 5

/** The chart as SVG that reads on a light and on a dark page. */
export function chart(title: string, series: readonly Series[]): string {
  const points = series.flatMap((one) => one.points)
  const hosts = [...new Set(points.map((point) => point.hosts))].sort((a, b) => a - b)
  const step = niceStep(Math.max(...points.map(({ seconds }) => seconds)) / TICKS)
  const top = step * Math.ceil(Math.max(...points.map(({ seconds }) => seconds)) / step)
  const most = Math.max(...hosts)
  const x = (count: number) => round(MARGIN.left + (count / most) * (WIDTH - MARGIN.left - MARGIN.right))
  const y = (seconds: number) => round(HEIGHT - MARGIN.bottom - (seconds / top) * (HEIGHT - MARGIN.top - MARGIN.bottom))
  const marks = Array.from({ length: Math.round(top / step) + 1 }, (_, index) => round(index * step))
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${title}">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" rx="8" fill="#fff"/>`,
    `<text x="${MARGIN.left}" y="28" ${FONT} font-weight="600" fill="#222">${title}</text>`,
    ...marks.map((mark) => {
      const line = `<line x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${y(mark)}" y2="${y(mark)}" stroke="#ddd"/>`
      return `${line}<text x="${MARGIN.left - 8}" y="${y(mark) + 4}" ${FONT} text-anchor="end" fill="#555">${mark}</text>`
    }),
    ...hosts.map(
      (count) => `<text x="${x(count)}" y="${HEIGHT - MARGIN.bottom + 20}" ${FONT} text-anchor="middle" fill="#555">${count}</text>`
    ),
    `<text x="${x(most / 2)}" y="${HEIGHT - 12}" ${FONT} text-anchor="middle" fill="#555">hosts that pull at once</text>`,
    `<text transform="translate(18 ${y(top / 2)}) rotate(-90)" ${FONT} text-anchor="middle" fill="#555">seconds to the last host</text>`,
    ...series.map((one, index) => drawn(one, index, x, y)),
    '</svg>',
    ''
  ].join('\n')
}

function drawn(one: Series, index: number, x: (hosts: number) => number, y: (seconds: number) => number): string {
  const path = one.points.map((point) => `${x(point.hosts)},${y(point.seconds)}`).join(' ')
  const dash = one.dashed === true ? ' stroke-dasharray="5 4"' : ''
  const dots =
    one.dashed === true ? [] : one.points.map((p) => `<circle cx="${x(p.hosts)}" cy="${y(p.seconds)}" r="3" fill="${one.color}"/>`)
  const at = { x: WIDTH - MARGIN.right + 16, y: MARGIN.top + 14 + index * 22 }
  return [
    `<polyline points="${path}" fill="none" stroke="${one.color}" stroke-width="2"${dash}/>`,
    ...dots,
    `<line x1="${at.x}" x2="${at.x + 22}" y1="${at.y - 4}" y2="${at.y - 4}" stroke="${one.color}" stroke-width="2"${dash}/>`,
    `<text x="${at.x + 28}" y="${at.y}" ${FONT} fill="#222">${one.name}</text>`
  ].join('\n')
}

/** 1, 2 or 5 times a power of ten, at least `least`. */
function niceStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(least))
  return power * ([1, 2, 5, 10].find((factor) => factor * power >= least) ?? 10)
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}
