// The last warnings and errors of the job's log, and the configuration in force.

import { byId, h, list, pairs, shown, text } from "./dom.js"
import * as format from "./format.js"
import { on, store } from "./store.js"

export function start() {
  on("logs", showLog)
  on("job", showSettings)
  byId("settings-box").append(h("dl", { class: "pairs", id: "settings-list" }))
  showLog()
}

function showLog() {
  const lines = [...store.logs].sort((a, b) => b.time_ms - a.time_ms)
  const errors = lines.filter(line => line.level === "ERROR").length
  text(byId("log-words"), lines.length ? `The newest first: ${format.plural(errors, "error")} among ${format.plural(lines.length, "line")}.` : store.noLogs ? `No lines are kept: ${store.noLogs}.` : "No warning and no error since the start.")
  shown(byId("log-box"), lines.length > 0)
  list(byId("log-box"), lines, key, create)
}

const key = line => `${line.process} ${line.time_ms} ${line.target} ${line.message} ${JSON.stringify(line.fields)}`

function create(line) {
  const fields = Object.entries(line.fields ?? {}).map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`).join(" ")
  return h("p", { "data-level": line.level }, h("time", { title: format.instant(line.time_ms) }, format.clock(line.time_ms)),
    h("b", {}, `${line.level === "ERROR" ? "✖" : "▲"} ${line.level}`), h("code", {}, [line.message, fields].filter(Boolean).join(" ")),
    h("span", { class: "muted" }, [line.target, format.place(line)].filter(Boolean).join(" ")))
}

function showSettings() {
  const { job } = store
  const value = of => (of == null ? "not set" : typeof of === "object" ? JSON.stringify(of) : String(of))
  const facts = [["program", `${job.job} ${job.version ?? ""}`], ["started", format.instant(job.started_ms)]]
  pairs(byId("settings-list"), [...facts, ...Object.entries(job.settings ?? {}).map(([name, of]) => [name, value(of)])])
}
