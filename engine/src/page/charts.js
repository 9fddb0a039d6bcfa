// Fifteen minutes of history, also for whoever comes late. A canvas says nothing to a screen reader, so each chart has
// its last value, its range and a table in text.

import { byId, attribute, h, list, text } from "./dom.js"
import * as format from "./format.js"
import * as hash from "./hash.js"
import { column, on, store } from "./store.js"

const CHARTS = [
  { title: "Records read", columns: ["records_per_second"], as: value => `${format.short(value)}/s` },
  { title: "Latency to the sinks", columns: ["p50_seconds", "p99_seconds"], names: ["p50", "p99 (dashed)"], as: format.seconds },
  { title: "Watermark gap", columns: ["watermark_gap_seconds"], as: format.seconds },
  { title: "Time of a commit", columns: ["checkpoint_seconds"], as: format.seconds },
  { title: "State", columns: ["state_bytes"], as: format.bytes },
  { title: "Waiting for the watermark", columns: ["pending"], as: format.short },
]
const RANGES = { "15m": 900, "5m": 300, "1m": 60 }
const HEIGHT = 120
const ROWS_OF_TABLE = 15

const drawn = []

export function start() {
  for (const range of Object.keys(RANGES)) {
    byId("ranges").append(h("button", { type: "button", "data-range": range, onclick: () => hash.set("range", range) }, range.replace("m", " min")))
  }
  byId("charts-box").append(...CHARTS.map(make))
  on("history", update)
  hash.onChange(name => name === "range" && update())
  new ResizeObserver(() => drawn.forEach(resize)).observe(byId("charts-box"))
  update()
}

/** Draws anew, in the colours of the theme. */
export const redraw = () => drawn.forEach(({ plot }) => plot.redraw(false))

const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim()

function make(chart) {
  const value = h("strong", {})
  const range = h("span", { class: "muted" })
  const box = h("div", { class: "plot", "aria-hidden": "true" })
  const body = h("tbody")
  const heads = ["time", ...(chart.names ?? ["value"])].map(name => h("th", { scope: "col" }, name.replace(/ .*/, "")))
  const table = h("details", { ontoggle: update }, h("summary", {}, "as a table"),
    h("table", {}, h("thead", {}, h("tr", {}, ...heads)), body))
  const figure = h("figure", { class: "panel" }, h("figcaption", {}, h("span", { class: "title" }, chart.title), value, range), box, table)
  const plot = new window.uPlot(options(chart, value), [[], ...chart.columns.map(() => [])], box)
  drawn.push({ chart, plot, box, value, range, table, body })
  return figure
}

function options(chart, value) {
  const axis = { stroke: () => colour("--muted"), grid: { stroke: () => colour("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" }
  const strokes = [{ stroke: () => colour("--accent"), fill: () => colour("--accent-soft") }, { stroke: () => colour("--ink"), dash: [5, 4] }]
  return {
    width: 320, height: HEIGHT, padding: [8, 6, 0, 0], legend: { show: false },
    cursor: { sync: { key: "history" }, y: false, drag: { x: false, y: false }, points: { size: 6 } },
    scales: { y: { range: (_, low, high) => [Math.min(0, low ?? 0), (high > 0 ? high : 1) * 1.1] } },
    axes: [
      { ...axis, size: 22, space: 60, values: (_, ticks) => ticks.map(tick => format.clock(tick * 1000).slice(0, tick % 60 ? 8 : 5)) },
      { ...axis, size: 62, space: 34, values: (_, ticks) => ticks.map(chart.as) },
    ],
    series: [{}, ...chart.columns.map((_, i) => ({ width: 1.5, points: { show: false }, spanGaps: false, ...strokes[i] }))],
    hooks: {
      setCursor: [plot => say(chart, plot, value)],
      draw: [drawRestarts],
    },
  }
}

/** A line where the job was started anew while this page was open. */
function drawRestarts(plot) {
  const { ctx, bbox } = plot
  ctx.save()
  ctx.strokeStyle = colour("--bad")
  ctx.setLineDash([2, 3])
  for (const { at } of store.restarts) {
    const x = plot.valToPos(at / 1000, "x", true)
    if (x < bbox.left || x > bbox.left + bbox.width) continue
    ctx.beginPath()
    ctx.moveTo(x, bbox.top)
    ctx.lineTo(x, bbox.top + bbox.height)
    ctx.stroke()
  }
  ctx.restore()
}

/** The value below the cursor, or else the last one. */
function say(chart, plot, node) {
  const [times, ...values] = plot.data
  const at = plot.cursor.idx ?? times.length - 1
  const words = values.map((one, i) => `${chart.names ? chart.names[i] + " " : ""}${chart.as(one[at])}`).join(" · ")
  text(node, plot.cursor.idx == null ? words : `${words} at ${format.clock(times[at] * 1000)}`)
}

function update() {
  const range = hash.get("range", "15m")
  byId("ranges").querySelectorAll("button").forEach(one => attribute(one, "aria-pressed", one.dataset.range === range ? "true" : "false"))
  const times = column("time_ms").map(ms => ms / 1000)
  const last = times[times.length - 1] ?? Date.now() / 1000
  const from = last - (RANGES[range] ?? RANGES["15m"])
  const first = Math.max(0, times.findIndex(time => time >= from))
  const x = times.slice(first)
  for (const one of drawn) {
    const values = one.chart.columns.map(name => column(name).slice(first).map(value => (Number.isFinite(value) ? value : null)))
    one.plot.setData([x, ...values], false)
    one.plot.setScale("x", { min: from, max: last })
    say(one.chart, one.plot, one.value)
    describe(one, x, values)
  }
}

function describe({ chart, range, table, body }, times, values) {
  const all = values.flat().filter(value => value != null)
  text(range, all.length ? `${chart.as(Math.min(...all))} to ${chart.as(Math.max(...all))}` : times.length ? "no values yet" : "no history yet")
  if (!table.open) return
  const step = Math.max(1, Math.ceil(times.length / ROWS_OF_TABLE))
  const rows = times.map((time, i) => [time, ...values.map(column => column[i])]).filter((_, i) => (times.length - 1 - i) % step === 0).reverse()
  const create = () => h("tr", {}, h("th", { scope: "row" }), ...values.map(() => h("td")))
  list(body, rows.map((row, i) => ({ row, i })), ({ i }) => i, create, (node, { row: [time, ...cells] }) => {
    text(node.cells[0], format.clock(time * 1000))
    cells.forEach((cell, i) => text(node.cells[i + 1], chart.as(cell)))
  })
}

function resize({ plot, box }) {
  const width = Math.floor(box.clientWidth)
  if (width > 0 && width !== plot.width) plot.setSize({ width, height: HEIGHT })
}
