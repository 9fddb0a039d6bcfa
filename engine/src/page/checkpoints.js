// The last sixty checkpoints as a strip: height is the time, the shape is the result. One of them is shown with the
// phases of each worker, the slowest first; either the newest, or the one that was picked.

import { attribute, byId, h, list, shown, text } from "./dom.js"
import * as format from "./format.js"
import * as hash from "./hash.js"
import { on, store } from "./store.js"

const NEWEST = "newest"
const MARKS = { committed: "", open: "…", failed: "✖" }
const LEAST_HEIGHT = 6

export function start() {
  const strip = byId("strip")
  strip.addEventListener("keydown", move)
  byId("phases").append(h("p", {}, h("strong", { id: "phases-title" }), " ", h("button", { type: "button", id: "follow", onclick: () => hash.set("cp", "") }, "Follow the newest")),
    h("p", { id: "phases-words" }), h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Phases of each worker" },
      h("table", { id: "phases-table" }, h("thead", {}, h("tr")), h("tbody"))))
  on("checkpoints job", update)
  hash.onChange(name => name === "cp" && update())
  update()
}

const took = one => (one.committed_ms == null ? null : (one.committed_ms - one.started_ms) / 1000)

/** What is shown below the strip: the one that was picked, or the newest that has ended. */
function picked() {
  const epoch = hash.get("cp", NEWEST)
  return store.checkpoints.find(one => String(one.epoch) === epoch) ?? store.checkpoints.find(one => one.result !== "open") ?? store.checkpoints[0]
}

function update() {
  const all = store.checkpoints
  text(byId("checkpoints-words"), words(all))
  shown(byId("strip"), all.length > 0)
  shown(byId("phases"), all.length > 0)
  if (!all.length) return
  const longest = Math.max(...all.map(one => took(one) ?? 0), 1e-6)
  const chosen = picked()
  const create = one => h("div", { role: "option", class: "checkpoint", onclick: () => hash.set("cp", String(one.epoch)) }, h("i"))
  list(byId("strip"), [...all].reverse(), one => one.epoch, create, (node, one) => {
    const seconds = took(one)
    attribute(node, "data-result", one.result)
    attribute(node, "aria-selected", one === chosen ? "true" : "false")
    attribute(node, "tabindex", one === chosen ? 0 : -1)
    attribute(node, "aria-label", `#${one.epoch}, ${one.result}${seconds == null ? "" : `, ${format.seconds(seconds)}`}`)
    attribute(node, "title", node.getAttribute("aria-label"))
    const bar = node.firstChild
    bar.style.height = `${Math.max(LEAST_HEIGHT, seconds == null ? 40 : (seconds / longest) * 100)}%`
    text(bar, MARKS[one.result] ?? "?")
  })
  showPhases(chosen)
}

function words(all) {
  if (!all.length) return "No checkpoint yet: the job has no checkpoint directory, or its first epoch is still open."
  const of = result => all.filter(one => one.result === result).length
  const slowest = all.reduce((worst, one) => ((took(one) ?? 0) > (took(worst) ?? 0) ? one : worst))
  const { checkpoint_seconds: time, checkpoint_interval_seconds: interval } = store.job ?? {}
  return [
    `The last ${all.length}: ${of("committed")} committed, ${of("failed")} failed, ${of("open")} open`,
    time && `p50 ${format.seconds(time.p50)}, p99 ${format.seconds(time.p99)}`, `slowest here ${format.seconds(took(slowest))} (#${slowest.epoch})`,
    interval && `one each ${format.seconds(interval)}`,
  ].filter(Boolean).join(" · ")
}

/** The phases as they follow each other; each has its colour, also where others are missing. */
const PHASES = ["align_seconds", "flush_seconds", "write_seconds", "base_seconds", "manifest_seconds", "publish_seconds"]
const phaseNames = phases => PHASES.filter(name => phases.some(phase => phase[name] != null))
const total = phase => Object.entries(phase).reduce((sum, [name, value]) => sum + (name.endsWith("_seconds") ? value ?? 0 : 0), 0)

function showPhases(one) {
  const pinned = hash.get("cp", NEWEST) !== NEWEST && hash.get("cp") !== ""
  text(byId("phases-title"), `Checkpoint #${one.epoch}: ${one.result}`)
  attribute(byId("follow"), "aria-pressed", pinned ? "false" : "true")
  const parts = [`started ${format.clock(one.started_ms)}`, took(one) != null && `took ${format.seconds(took(one))}`, one.delta_bytes != null && `delta ${format.bytes(one.delta_bytes)}`]
  text(byId("phases-words"), parts.filter(Boolean).join(" · "))
  const phases = [...(one.phases ?? [])].sort((a, b) => total(b) - total(a))
  const names = phaseNames(phases)
  const longest = Math.max(...phases.map(total), 1e-9)
  const table = byId("phases-table")
  shown(table, names.length > 0)
  const swatch = name => (PHASES.includes(name) ? h("i", { class: "swatch", "data-phase": PHASES.indexOf(name) }) : null)
  const head = name => h("th", { scope: "col" }, swatch(name), name.replace("_seconds", "").replaceAll("_", " "))
  list(table.tHead.rows[0], ["worker", ...names, "all", "one after the other"], name => name, head)
  const create = () => h("tr", {}, h("th", { scope: "row" }))
  list(table.tBodies[0], phases, phase => phase.worker, create, (row, phase) => {
    text(row.cells[0], String(phase.worker))
    const cells = [...names.map(name => [name, format.seconds(phase[name])]), ["all", format.seconds(total(phase))]]
    list(row, [["worker"], ...cells, ["bar"]], ([name]) => name, ([name]) => (name === "worker" ? row.cells[0] : h("td", { class: name === "bar" ? "bar" : "" })), (cell, [name, value]) => {
      if (name === "bar") stack(cell, names, phase, longest)
      else if (name !== "worker") text(cell, value)
    })
  })
}

/** The phases one after the other, as long as their share of the slowest worker. */
function stack(cell, names, phase, longest) {
  list(cell, names, name => name, name => h("i", { title: name.replace("_seconds", "") }), (part, name) => {
    part.style.width = `${(100 * (phase[name] ?? 0)) / longest}%`
    attribute(part, "data-phase", PHASES.indexOf(name))
  })
}

/** Arrows, Home and End walk along the strip. */
function move(event) {
  const options = [...byId("strip").children]
  const at = options.findIndex(one => one.tabIndex === 0)
  const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: options.length - 1 }[event.key]
  if (to == null) return
  event.preventDefault()
  const next = options[Math.max(0, Math.min(options.length - 1, to))]
  next.click()
  next.focus()
}
