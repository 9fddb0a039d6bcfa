// The life of the connection: first all resources, then one stream of events; gone and back again. Nothing is asked
// for while the tab is hidden.

import * as api from "./api.js"
import * as hash from "./hash.js"
import { addGap, addRows, changed, store } from "./store.js"

const RETRY_MS = 1000
/** Statistics come each second. A server that is silent for longer hangs, or the network does. */
const SILENT_MS = 6000
const POLL_MS = 2000
const KEPT = { checkpoints: 60, logs: 200 }
const FINAL = ["finished", "stopped", "failed"]

let abort = null
const tails = new Set()

/** Calls `handle(sample)` for each sample of the stream's tail, and `handle(null)` when the tail begins anew. */
export const onTail = handle => tails.add(handle)

export function start() {
  setInterval(watch, 1000)
  setInterval(poll, POLL_MS)
  addEventListener("visibilitychange", () => (document.hidden ? abort?.abort("hidden") : run()))
  hash.onChange(name => ["tail", "filter"].includes(name) && abort?.abort("other tail"))
  run()
}

let running = false

async function run() {
  if (running) return
  running = true
  while (!document.hidden) {
    abort = new AbortController()
    let ended = "the server closed the connection"
    store.refused = false
    try {
      await load()
      await api.stream(events(), abort.signal, take)
    } catch (error) {
      ended = reason(error)
      store.refused = [401, 403].includes(error?.status)
    }
    if (["other tail", "hidden"].includes(abort.signal.reason)) continue
    lost(ended)
    abort.abort("ended")
    await new Promise(resolve => setTimeout(resolve, RETRY_MS))
  }
  running = false
}

/** Returns the stream whose tail is wanted. */
function wantedTail() {
  const tail = hash.get("tail")
  // An old link may name a stream that is no longer there: that is no reason to show nothing at all.
  return tail === "dead-letters" || store.graph.nodes.some(node => node.name === tail) ? tail : ""
}

function events() {
  const tail = hasSeveral() ? "" : wantedTail()
  const query = tail ? "?" + new URLSearchParams({ tail, filter: hash.get("filter") }) : ""
  return "events" + query
}

/** Whether the job has several processes. Then the stream of events is only of the one that answers. */
const hasSeveral = (job = store.job) => job.processes > 1

/** Where a resource is of the whole job. */
const whole = (path, job = store.job) => (hasSeveral(job) ? "cluster/" + path : path)

/** Reads everything. What only one panel needs may be missing; the job itself may not. */
async function load() {
  const job = await api.read("job")
  const rows = store.history.rows
  const since = rows.length ? rows[rows.length - 1][0] : 0
  const [graph, operators, checkpoints, history, logs, letters] = await Promise.all([
    api.read("graph"), api.read("operators"), api.read(whole("checkpoints", job)), api.read(whole(`history?since=${since}`, job)),
    api.read(whole("logs", job)), optional(whole("tail", job), "?stream=dead-letters"),
  ])
  if (store.job && store.job.started_ms !== job.started_ms) {
    store.restarts.push({ at: job.started_ms, from: job.restored_epoch })
    if (rows.length) addGap(rows[rows.length - 1][0] + 1)
  }
  if (history.columns) store.history.columns = history.columns
  addRows(history.rows ?? [])
  Object.assign(store, { graph, cluster: null, connection: "live", heard: Date.now() })
  see(job, operators.operators)
  store.checkpoints = checkpoints.checkpoints ?? []
  store.logs = logs.lines ?? []
  store.noLogs = logs.reason ?? ""
  store.deadLetters = letters.records ?? []
  changed("job", "graph", "operators", "checkpoints", "history", "logs", "deadLetters", "connection")
  tailed.clear()
  tails.forEach(handle => handle(null))
  await poll()
}

/** Reads what a job may not have. */
async function optional(path, query = "") {
  return (await api.offers(path)) ? api.read(path + query).catch(() => ({})) : {}
}

let polling = null

/** What changes slowly is asked for, and is not in the stream. A process that is silent makes this slow: one at a time. */
function poll() {
  polling ??= ask().finally(() => (polling = null))
  return polling
}

async function ask() {
  if (document.hidden || store.connection !== "live") return
  const letters = store.job.dead_letters ? optional(whole("tail"), "?stream=dead-letters") : {}
  const [inference, keys, drift, dead, cluster] = await Promise.all([
    api.read(whole("inference")).catch(() => ({})), optional(whole("hotkeys")), optional(whole("drift")), letters, hasSeveral() ? optional("cluster") : {},
    hasSeveral() ? pollWhole() : null,
  ])
  await pollVersions()
  store.cluster = cluster.processes ? cluster : null
  store.models = inference.models ?? store.models
  store.hotKeys = keys.operators ?? store.hotKeys
  store.drift = drift.operators ?? store.drift
  store.deadLetters = dead.records ?? store.deadLetters
  // A job that starts has no graph yet.
  if (!store.graph.nodes.length) store.graph = await api.read("graph").catch(() => store.graph)
  changed("models", "hotKeys", "drift", "deadLetters", "graph", "cluster")
}

/** Reads which versions of models are in effect, of a job that can change them. */
async function pollVersions() {
  const { operators } = await optional("models")
  store.versions = operators ?? store.versions
  if (Object.keys(store.versions).length) store.changes = (await optional("changes")).changes ?? store.changes
  changed("versions")
}

/** Reads what the stream of events has only of the process that answers. */
async function pollWhole() {
  const { rows } = store.history
  const asked = tailQuery()
  const [history, checkpoints, logs, sample] = await Promise.all([
    `history?since=${rows.length ? rows[rows.length - 1][0] : 0}`, "checkpoints", "logs", wantedTail() && `tail?${asked}`,
  ].map(path => (path ? api.read("cluster/" + path).catch(() => ({})) : {})))
  addRows(history.rows ?? [])
  store.checkpoints = checkpoints.checkpoints ?? store.checkpoints
  store.logs = logs.lines ?? store.logs
  changed("history", "checkpoints", "logs")
  // Another stream or filter may have been chosen meanwhile.
  const fresh = sample.records && asked === tailQuery() && newOf(sample)
  if (fresh) tails.forEach(handle => handle(fresh))
}

const tailQuery = () => new URLSearchParams({ stream: wantedTail(), filter: hash.get("filter") }).toString()

/** Time of the newest record of the tail that was shown, by process, and how many were not in the sample. */
const tailed = new Map()

/** Returns what is new in a sample, which has all that the processes keep. */
function newOf(sample) {
  const records = sample.records.filter(record => record.time_ms > (tailed.get(record.process) ?? 0))
  records.forEach(({ process, time_ms }) => tailed.set(process, Math.max(time_ms, tailed.get(process) ?? 0)))
  // Without a process that is silent there are fewer.
  const before = tailed.get("dropped") ?? 0
  const dropped = Math.max(0, sample.dropped - before)
  tailed.set("dropped", Math.max(before, sample.dropped))
  return { ...sample, records, dropped }
}

/** What the line in words and that of the cause have, and that is of all processes. */
const WHOLE = ["records_per_second", "dead_letters", "late", "cause"]

/** What the process says; where it knows the other processes, the numbers of all of them. */
function see(job, operators) {
  const all = store.cluster
  store.job = all ? { ...job, ...Object.fromEntries(WHOLE.map(name => [name, all.job[name]])) } : job
  store.operators = all ? all.operators : operators
}

function take(name, value) {
  store.heard = Date.now()
  if (store.connection !== "live") {
    store.connection = "live"
    changed("connection")
  }
  if (name === "stats") {
    see(value.job, value.operators.operators)
    if (value.row && !hasSeveral()) addRows([value.row])
    changed("job", "operators", "history")
  } else if (name === "checkpoint" && hasSeveral()) {
    // They are read again, with the parts of the other processes.
  } else if (name === "checkpoint") {
    const rest = store.checkpoints.filter(one => one.epoch !== value.epoch)
    store.checkpoints = [value, ...rest].sort((a, b) => b.epoch - a.epoch).slice(0, KEPT.checkpoints)
    changed("checkpoints")
  } else if (name === "log") {
    const line = hasSeveral() ? { ...value, process: store.job.process } : value
    store.logs = [...store.logs, line].slice(-KEPT.logs)
    changed("logs")
  } else if (name === "tail") {
    tails.forEach(handle => handle(value))
  } else if (name === "dropped") {
    store.dropped += value.dropped ?? value.count ?? (typeof value === "number" ? value : 1)
    changed("connection")
  }
}

function reason(error) {
  if (error instanceof api.Problem) return error.message
  if (error?.name === "TimeoutError") return "the server accepts connections and does not answer"
  if (error === "silent") return `the server has sent nothing for ${SILENT_MS / 1000} s`
  return "no connection: the process ended or was killed, is being restarted, or the network is down"
}

function lost(why) {
  if (store.connection === "live" || store.connection === "starting") store.why = why
  store.since = why
  store.connection = FINAL.includes(store.job?.state) ? "ended" : "gone"
  changed("connection")
}

function watch() {
  if (document.hidden) return
  const silent = Date.now() - store.heard > SILENT_MS
  if (store.connection === "live" && silent) abort?.abort("silent")
  changed("connection")
}
