// The processes of a job: how each is, also one that does not answer. Hidden for a job of one process.

import { attribute, byId, h, list, shown, text } from "./dom.js"
import * as format from "./format.js"
import { on, store } from "./store.js"

const HEADS = ["process", "address", "state", "records/s", "in flight", "state size", "epoch", "up"]
const WORDS = { answers: "● answers", silent: "✖ silent", unknown: "◌ unknown" }

let body

export function start() {
  body = h("tbody")
  const heads = HEADS.map((head, i) => h("th", { scope: "col", class: i < 3 ? "text" : null }, head))
  byId("processes-box").append(h("table", { id: "processes-table" }, h("thead", {}, h("tr", {}, ...heads)), body))
  on("cluster", update)
}

function update() {
  const processes = store.cluster?.processes ?? []
  shown(byId("processes"), processes.length > 1)
  const silent = processes.filter(one => one.state !== "answers")
  text(byId("processes-words"), silent.length
    ? `Numbers are without ${silent.map(one => `process ${one.process} (${one.problem})`).join(", ")}.`
    : "Rates, operators and dead letters on this page are of all processes together.")
  attribute(byId("processes-words"), "data-silent", silent.length > 0)
  const create = () => h("tr", {}, h("th", { scope: "row" }), ...HEADS.slice(1).map((_, i) => h("td", { class: i < 2 ? "text" : null })))
  list(body, processes, one => one.process, create, (row, one) => cells(one).forEach((cell, i) => text(row.cells[i], cell)))
}

function cells({ process, address, state, job }) {
  const known = job
    ? [format.rate(job.records_per_second), format.count(job.in_flight), format.bytes(job.state_bytes), format.count(job.epoch), format.seconds(job.uptime_seconds)]
    : ["–", "–", "–", "–", "–"]
  const words = state === "answers" && job ? `● ${job.state}` : WORDS[state]
  return [process, address ?? "–", words, ...known]
}
