// One operator in detail, below the graph: each worker, so that skew shows; each partition; and all that it measures.

import { attribute, byId, h, list, pairs, shown, text } from "./dom.js"
import * as format from "./format.js"
import * as hash from "./hash.js"
import { on, store } from "./store.js"

const parts = {}

export function start() {
  const table = (id, heads) => h("table", { id }, h("thead", {}, h("tr", {}, ...heads.map(head => h("th", { scope: "col" }, head)))), h("tbody"))
  parts.name = h("h3")
  parts.words = h("p", { class: "muted" })
  parts.workers = table("workers-table", ["worker", "records in", "share", "busy", "backpressured"])
  parts.partitions = table("partitions-table", ["partition", "watermark", "pending", "state"])
  parts.reasons = table("reasons-table", ["dead letters by reason", "count"])
  parts.numbers = h("dl", { class: "pairs" })
  parts.distributions = table("distributions-table", ["distribution", "p50", "p99", "p999", "values"])
  parts.more = h("details", {}, h("summary", {}, "details as JSON"), h("pre", { tabindex: 0 }))
  const close = h("button", { type: "button", onclick: () => hash.set("op", "") }, "Close")
  const tail = h("button", { type: "button", onclick: () => { hash.set("tail", hash.get("op")); byId("tail").scrollIntoView() } }, "Tail its output")
  byId("operator").append(h("div", { class: "bar-of-title" }, parts.name, h("span", {}, tail, " ", close)), parts.words,
    h("div", { class: "tables scroll", tabindex: 0, role: "region", "aria-label": "Tables of the operator" }, parts.workers, parts.partitions, parts.distributions, parts.reasons), parts.numbers, parts.more)
  on("operators graph", update)
  hash.onChange(name => name === "op" && update())
}

function update() {
  const name = hash.get("op")
  const one = store.operators.find(operator => operator.name === name)
  shown(byId("operator"), !!one)
  if (!one) return
  text(parts.name, one.name)
  text(parts.words, words(one))
  const workers = one.per_worker ?? []
  const sum = workers.reduce((total, worker) => total + worker.records_in, 0)
  rows(parts.workers, workers, worker => worker.worker, worker => [worker.worker, format.count(worker.records_in),
    format.percent(sum ? worker.records_in / sum : null), format.percent(worker.busy), format.percent(worker.backpressured)])
  rows(parts.partitions, one.partitions ?? [], part => part.partition, part => [part.partition, format.instant(part.watermark_ms), format.count(part.pending), part.state ?? "–"])
  rows(parts.reasons, Object.entries(one.dead_letters_by_reason ?? {}), ([reason]) => reason, ([reason, n]) => [reason, format.count(n)])
  const distributions = Object.entries(one.distributions ?? {}).filter(([, values]) => values.count)
  rows(parts.distributions, distributions, ([of]) => of, ([of, v]) => {
    const [title] = format.named(of, 0)
    return [title, ...[v.p50, v.p99, v.p999].map(value => format.named(of, value)[1]), format.count(v.count)]
  })
  pairs(parts.numbers, Object.entries({ ...one.counters, ...one.gauges }).map(([key, value]) => format.named(key, value)))
  const details = one.details && Object.keys(one.details).length ? one.details : null
  shown(parts.more, !!details)
  text(parts.more.lastChild, JSON.stringify(details, null, 2))
}

function words(one) {
  const sources = store.graph.edges
  const id = store.graph.nodes.find(node => node.name === one.name)?.id
  const names = new Map(store.graph.nodes.map(node => [node.id, node.name]))
  const from = sources.filter(edge => edge.to === id).map(edge => names.get(edge.from))
  const to = sources.filter(edge => edge.from === id).map(edge => names.get(edge.to))
  return [
    `${one.kind}, ${format.plural(one.workers, "worker")}`, from.length && `reads from ${from.join(", ")}`, to.length && `feeds ${to.join(", ")}`,
    one.watermark_ms != null && `watermark ${format.instant(one.watermark_ms)}`,
  ].filter(Boolean).join(" · ")
}

/** Fills a table, and hides it when it has no rows. */
function rows(table, items, keyOf, cells) {
  shown(table, items.length > 0)
  const width = table.tHead.rows[0].cells.length
  const create = () => h("tr", {}, h("th", { scope: "row" }), ...Array.from({ length: width - 1 }, () => h("td")))
  list(table.tBodies[0], items, keyOf, create, (row, item) => cells(item).forEach((value, i) => text(row.cells[i], value)))
  attribute(table, "data-rows", items.length)
}
