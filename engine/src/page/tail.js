// Records as they pass: the tail of any stream, sampled and filtered by the server, and the dead letters with their
// reasons, the recent ones apart from the old.

import * as api from "./api.js"
import { attribute, byId, h, list, shown, text } from "./dom.js"
import * as format from "./format.js"
import * as hash from "./hash.js"
import { onTail } from "./live.js"
import { deadLetters } from "./rules.js"
import { isPaused, on, store } from "./store.js"

const KEPT = 200
const DEAD_LETTERS = "dead-letters"
const FILTER_AFTER_MS = 400
const RECENT_MS = 5 * 60_000

let records = []
let dropped = 0
let number = 0
const numbered = record => ({ ...record, number: (number += 1) })

export function start() {
  const [stream, filter] = [byId("tail-stream"), byId("tail-filter")]
  stream.addEventListener("change", () => hash.set("tail", stream.value))
  let timer
  filter.value = hash.get("filter")
  filter.addEventListener("input", () => {
    clearTimeout(timer)
    timer = setTimeout(() => hash.set("filter", filter.value), FILTER_AFTER_MS)
  })
  onTail(sample => {
    // A stream that is opened again begins with what it had.
    if (sample) records = [...sample.records.map(numbered), ...records].sort((a, b) => b.time_ms - a.time_ms).slice(0, KEPT)
    else records = []
    dropped = sample ? dropped + sample.dropped : 0
    if (!isPaused()) showTail()
  })
  on("graph", showStreams)
  on("graph", async () => shown(byId("tail"), await api.offers("tail")))
  on("deadLetters job", showDead)
  hash.onChange(name => ["tail", "filter"].includes(name) && choose())
  showStreams()
  choose()
}

function showStreams() {
  const names = ["", DEAD_LETTERS, ...store.graph.nodes.map(node => node.name)]
  list(byId("tail-stream"), names, name => name, name => h("option", { value: name }, name || "none"))
  byId("tail-stream").value = hash.get("tail")
}

function choose() {
  byId("tail-stream").value = hash.get("tail")
  ;[records, dropped] = [[], 0]
  showTail()
}

function showTail() {
  const stream = hash.get("tail")
  const filter = hash.get("filter")
  const missed = dropped ? ` ${format.count(dropped)} more passed by.` : ""
  const known = store.graph.nodes.some(node => node.name === stream) || stream === DEAD_LETTERS
  text(byId("tail-words"), !stream ? "Choose a stream to see its records as they pass."
    : !known ? `This job has no stream "${stream}".`
      : records.length ? `A sample, the newest first, at most ${KEPT}.${missed}`
        : `No record of ${stream}${filter ? ` that has "${filter}"` : ""} yet.`)
  shown(byId("tail-box"), records.length > 0)
  list(byId("tail-box"), records, record => record.number, line)
}

function line(record) {
  return h("p", {}, h("time", {}, format.clock(record.time_ms)), record.reason ? h("b", {}, record.reason) : null, h("code", {}, record.text),
    h("span", { class: "muted" }, [record.operator, record.origin, format.place(record)].filter(Boolean).join(" ")))
}

function showDead() {
  const { total, recent, last } = deadLetters()
  const now = store.job?.now_ms ?? 0
  text(byId("dead-words"), total === 0 ? "None since the start."
    : recent === 0 ? `${format.plural(total, "dead letter")} since the start, none in the last 5 minutes${last ? `; the last ${format.ago(last, now)}` : ""}.`
      : `${format.count(recent)} in the last 5 minutes (${format.rate(recent / 5)}/min); ${format.count(total)} since the start.`)
  attribute(byId("dead-words"), "data-severity", recent > 0 ? "red" : null)
  const letters = [...store.deadLetters].sort((a, b) => b.time_ms - a.time_ms)
  shown(byId("dead-box"), letters.length > 0)
  const key = letter => `${letter.process} ${letter.time_ms} ${letter.reason} ${letter.text}`
  list(byId("dead-box"), letters, key, line, (node, letter) => attribute(node, "data-old", now - letter.time_ms > RECENT_MS))
}
