// All operators as a table: sorted by any column, filtered by name, updated in place.

import { attribute, byId, h, list, text } from "./dom.js"
import * as format from "./format.js"
import * as hash from "./hash.js"
import { pressure } from "./rules.js"
import { on, store } from "./store.js"

/** Title, value to sort by, and text. */
const COLUMNS = [
  ["operator", one => one.name, one => one.name],
  ["kind", one => one.kind, one => one.kind],
  ["workers", one => one.workers, one => format.count(one.workers)],
  ["in/s", one => one.in_per_second, one => format.rate(one.in_per_second)],
  ["out/s", one => one.out_per_second, one => format.rate(one.out_per_second)],
  ["busy", one => one.busy, one => format.percent(one.busy)],
  ["backpressured", one => one.backpressured, one => (one.backpressured == null ? "n/a" : `${format.percent(one.backpressured)} ${pressure(one.backpressured)}`)],
  ["idle", one => one.idle, one => format.percent(one.idle)],
  ["watermark gap", one => one.watermark_gap_seconds, gap],
  ["queue", one => one.queue, one => format.count(one.queue)],
  ["state", one => one.state_bytes, one => format.bytes(one.state_bytes)],
  ["late", one => one.late, one => format.count(one.late)],
  ["dead letters", one => one.dead_letters, one => format.count(one.dead_letters)],
  ["records in", one => one.records_in, one => format.count(one.records_in)],
]
const TEXT_COLUMNS = 2

function gap(one) {
  if (one.input_ended) return "end of input"
  return one.watermark_gap_seconds == null ? "–" : format.seconds(one.watermark_gap_seconds)
}

let body

export function start() {
  const heads = COLUMNS.map(([title], i) =>
    h("th", { scope: "col", class: i < TEXT_COLUMNS ? "text" : null }, h("button", { type: "button", class: "sort", onclick: () => sort(title) }, title)))
  body = h("tbody")
  byId("operators-box").append(h("table", { id: "operators-table" }, h("thead", {}, h("tr", {}, ...heads)), body))
  const filter = byId("operators-filter")
  filter.value = hash.get("of")
  filter.addEventListener("input", () => hash.set("of", filter.value))
  on("operators", update)
  hash.onChange(name => ["of", "sort", "op"].includes(name) && update())
}

/** The first click sorts downwards, the second upwards, the third as the graph has them. */
function sort(title) {
  const now = hash.get("sort")
  hash.set("sort", now === title ? "-" + title : now === "-" + title ? "" : title)
}

function update() {
  const chosen = hash.get("sort")
  const name = chosen.replace(/^-/, "")
  const index = COLUMNS.findIndex(([title]) => title === name)
  const up = chosen.startsWith("-")
  byId("operators-table").querySelectorAll("th[scope=col]").forEach((th, i) =>
    attribute(th, "aria-sort", i === index ? (up ? "ascending" : "descending") : "none"))
  const wanted = hash.get("of").toLowerCase()
  const rows = store.operators.filter(one => one.name.toLowerCase().includes(wanted))
  if (index >= 0) rows.sort((a, b) => compare(COLUMNS[index][1](a), COLUMNS[index][1](b)) * (up ? -1 : 1))
  list(body, rows, one => one.name, create, fill)
}

/** The largest first, texts from A on; what is not there comes last. */
function compare(a, b) {
  if (a == null || b == null) return (a == null) - (b == null)
  return typeof a === "string" ? a.localeCompare(b) : b - a
}

function create({ name }) {
  const select = () => {
    hash.set("op", hash.get("op") === name ? "" : name)
    byId("operator").scrollIntoView({ block: "nearest" })
  }
  const first = h("th", { scope: "row" }, h("button", { type: "button", class: "link", onclick: select }, name))
  return h("tr", {}, first, ...COLUMNS.slice(1).map((_, i) => h("td", { class: i + 1 < TEXT_COLUMNS ? "text" : null })))
}

function fill(row, one) {
  attribute(row.cells[0].firstChild, "aria-pressed", hash.get("op") === one.name ? "true" : "false")
  attribute(row, "data-cause", store.job?.cause?.operator === one.name)
  COLUMNS.slice(1).forEach(([, , show], i) => text(row.cells[i + 1], show(one)))
}
