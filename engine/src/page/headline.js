// The line in words, the alarms below it, and the line that names the cause. Also the title of the tab.

import { attribute, byId, h, list, marked, shown, text } from "./dom.js"
import * as format from "./format.js"
import * as rules from "./rules.js"
import { column, isPaused, on, store } from "./store.js"

const WORDS = {
  starting: "starting", restoring: "restoring", running: "running", stopping: "stopping",
  finished: "finished", stopped: "stopped", failed: "failed",
}
/** A shape beside each colour. */
const SHAPES = { running: "●", failed: "✖", gone: "✖", finished: "■", stopped: "■", hidden: "‖" }

export function start() {
  on("job", () => {
    rules.note()
    show()
  })
  on("connection deadLetters models checkpoints logs", show)
}

function show() {
  const { job, connection } = store
  const gone = connection === "gone" || connection === "ended"
  attribute(document.documentElement, "data-connection", connection)
  showGone(gone)
  if (isPaused() && !gone) return
  if (!job) {
    text(byId("headline"), gone ? `no answer: ${store.why}` : "asking the job …")
    document.title = gone ? "✖ gone · Tidemill" : "Tidemill"
    return
  }
  const state = connection === "gone" ? "gone" : WORDS[job.state] ?? job.state
  text(byId("job"), job.job)
  text(byId("state"), `${SHAPES[state] ?? "◌"} ${state}`)
  attribute(byId("state"), "data-state", state)
  text(byId("about"), about(job))
  text(byId("headline"), sentence(job))
  marked(byId("cause"), cause(job, gone))
  sayCause(job, gone)
  attribute(byId("cause"), "data-found", !!job.cause && !gone)
  const alarms = gone ? [] : rules.alarms()
  showAlarms(alarms)
  const worst = alarms.find(alarm => alarm.severity === "red")
  text(byId("worst"), worst ? `${worst.word} ·` : `${state} ·`)
  attribute(byId("worst"), "data-severity", worst?.severity)
  document.title = `${worst ? "✖" : (SHAPES[state] ?? "◌")} ${worst?.word ?? state} · ${job.job} · Tidemill`
  showRestarts()
}

function about(job) {
  const parts = [
    job.version && `version ${job.version}`, format.plural(job.workers, "worker"),
    job.processes > 1 && `${job.processes} processes, number ${job.process} answers`,
    `up ${format.seconds(job.uptime_seconds)}`, job.restored_epoch != null && `restored from #${job.restored_epoch}`,
  ]
  return parts.filter(Boolean).join(" · ")
}

function sentence(job) {
  const gaps = column("watermark_gap_seconds")
  const gap = gaps[gaps.length - 1]
  const commits = job.last_commit_ms == null
    ? "nothing committed yet"
    : `last commit ${format.ago(job.last_commit_ms, job.now_ms)} (#${job.committed_epoch}, ${format.seconds(lastDuration())})`
  const behind = gap == null ? "no watermark yet" : gap < 0 ? `ahead by ${format.seconds(-gap)}` : `behind by ${format.seconds(gap)}`
  return [`${format.rate(job.records_per_second)}/s`, behind, commits, letters()].join(" · ")
}

function lastDuration() {
  const last = store.checkpoints.find(one => one.committed_ms != null)
  return last ? (last.committed_ms - last.started_ms) / 1000 : store.job.checkpoint_seconds?.p50
}

function letters() {
  const { total, recent } = rules.deadLetters()
  if (total === 0) return "0 dead letters"
  if (recent > 0) return `${format.plural(recent, "dead letter")} in the last 5 min (${format.rate(recent / 5)}/min), ${format.count(total)} in all`
  return `${format.plural(total, "dead letter")}, all old`
}

function cause(job, gone) {
  if (gone) return "The bottleneck is not known: the job does not answer."
  if (job.cause) return job.cause.sentence
  return job.state === "running" ? "No operator is a bottleneck." : `The job is ${job.state}.`
}

let said = ""

/** Tells screen readers the cause when it is another one, and not each time that a number in it changes. */
function sayCause(job, gone) {
  const key = JSON.stringify([gone, job.cause?.operator, job.cause?.waiting, job.cause ? "" : job.state])
  if (key === said) return
  said = key
  text(byId("cause-said"), cause(job, gone).replaceAll("`", ""))
}

function showAlarms(alarms) {
  const create = alarm => h("li", { "data-severity": alarm.severity }, h("b"), " ", h("span"), " ", h("a"))
  list(byId("alarms"), alarms, alarm => alarm.word, create, (node, alarm) => {
    text(node.querySelector("b"), `${alarm.severity === "red" ? "✖" : "▲"} ${alarm.word}`)
    text(node.querySelector("span"), alarm.detail)
    const link = node.querySelector("a")
    attribute(link, "href", "#" + alarm.at)
    text(link, `see ${byId(alarm.at)?.querySelector("h2")?.dataset.title ?? alarm.at}`)
  })
}

function showGone(gone) {
  const banner = byId("gone")
  shown(banner, gone || isPaused())
  attribute(banner, "data-kind", gone ? "gone" : "paused")
  for (const title of document.querySelectorAll("h2")) {
    attribute(title, "data-old", gone && store.heard ? `old: of ${format.clock(store.heard)}` : null)
  }
  if (gone) {
    const since = store.heard ? `Last answer at ${format.clock(store.heard)}, ${format.ago(store.heard, Date.now())}.` : "It has not answered yet."
    text(byId("gone-what"), store.refused ? "The job asks for its token (below, under Actions)." : store.connection === "ended" ? `The job has ${store.job.state === "failed" ? "failed" : "ended"}.` : "The job is gone.")
    text(byId("gone-why"), `${since} Why: ${why()} Everything below is old. This page keeps asking.`)
  } else if (isPaused()) {
    text(byId("gone-what"), "Paused.")
    text(byId("gone-why"), "The job runs on; what is shown here stands still until you resume.")
  }
}

function why() {
  const { job } = store
  if (job?.failure) return job.failure + "."
  if (store.connection === "ended") return `the job said that it was ${job.state} before the connection closed.`
  const said = job ? ` It said "${job.state}" until then, and no reason.` : ""
  const since = store.since && store.since !== store.why ? `; since then: ${store.since}` : ""
  return store.why + since + "." + said
}

function showRestarts() {
  const { restarts } = store
  shown(byId("restarts"), restarts.length > 0)
  if (!restarts.length) return
  const { at, from } = restarts[restarts.length - 1]
  const times = restarts.length > 1 ? `${restarts.length} times while this page was open, last` : "while this page was open,"
  text(byId("restarts"), `The job was restarted ${times} at ${format.clock(at)}, ${from == null ? "from nothing" : `from checkpoint #${from}`}.`)
}
