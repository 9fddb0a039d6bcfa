// What is wrong with the job now. Only what is recent counts: a dead letter of last week is a number, not an alarm.

import * as format from "./format.js"
import { store } from "./store.js"

const RECENT_MS = 5 * 60_000
const HIGH = 0.5
const NEAR_LIMIT = 0.9
/** A job commits nothing for this many intervals, and at least for this long, before it is said. */
const INTERVALS_WITHOUT_COMMIT = 10
const SHORTEST_SILENCE_SECONDS = 10
const STALL_SECONDS = 60

/** Rules from the worst on. Each returns `null`, or the alarm in words; `at` is the section to look at next. */
const RULES = [
  ({ job }) => job.state === "failed" && red("failed", job.failure ?? "the job failed and gave no reason", "log"),
  commitsStopped,
  recentDeadLetters,
  watermarkStalled,
  modelTrouble,
  failedCheckpoints,
  ({ job }) => job.state_limit_bytes && job.state_bytes > NEAR_LIMIT * job.state_limit_bytes &&
    amber("state near its limit", `${format.bytes(job.state_bytes)} of ${format.bytes(job.state_limit_bytes)}`, "operators"),
  slowCheckpoints,
  backpressured,
  recentErrors,
]

const red = (word, detail, at) => ({ severity: "red", word, detail, at })
const amber = (word, detail, at) => ({ severity: "amber", word, detail, at })

/** Returns the alarms that hold now, the worst first. */
export function alarms() {
  return store.job ? RULES.map(rule => rule(store)).filter(Boolean) : []
}

function commitsStopped({ job }) {
  if (job.state !== "running" || job.last_commit_ms == null) return null
  const age = (job.now_ms - job.last_commit_ms) / 1000
  const limit = Math.max(SHORTEST_SILENCE_SECONDS, INTERVALS_WITHOUT_COMMIT * (job.checkpoint_interval_seconds ?? 1))
  return age > limit &&
    red("no commits", `none for ${format.seconds(age)}: nothing more is published, and a restart repeats all since`, "checkpoints")
}

/** Dead letters of the last five minutes: from the tail, which has their times, and from counts that this page saw. */
export function deadLetters() {
  const { job, deadLetters: tail } = store
  const inTail = tail.filter(letter => letter.time_ms > (job?.now_ms ?? 0) - RECENT_MS).length
  const counted = counts.length && job ? job.dead_letters - counts[0][1] : 0
  const last = tail.reduce((newest, letter) => Math.max(newest, letter.time_ms), 0)
  return { total: job?.dead_letters ?? 0, recent: Math.max(inTail, counted), last: last || null }
}

/** What this page saw of the last five minutes: the time, dead letters in all, and those of each operator. */
let counts = []

/** Notes how many dead letters there are, each time that statistics come. */
export function note() {
  const { job, operators } = store
  if (counts.length && job.dead_letters < counts[counts.length - 1][1]) counts = []
  counts.push([job.now_ms, job.dead_letters, new Map(operators.map(one => [one.name, one.dead_letters]))])
  counts = counts.filter(([time]) => time > job.now_ms - RECENT_MS)
}

/** Dead letters of an operator within the last five minutes, as far as this page saw them. */
export const recentOf = one => one.dead_letters - (counts[0]?.[2].get(one.name) ?? one.dead_letters)

function recentDeadLetters() {
  const { recent, total } = deadLetters()
  return recent > 0 &&
    red("dead letters", `${format.count(recent)} in the last 5 min, ${format.count(total)} since the start`, "dead")
}

/** The watermark stands if its gap has grown as fast as the clock while records came in. */
function watermarkStalled({ history }) {
  const at = name => history.columns.indexOf(name)
  const [gap, records] = [at("watermark_gap_seconds"), at("records_per_second")]
  const newest = history.rows[history.rows.length - 1]
  const before = newest && history.rows.findLast(row => row[0] <= newest[0] - STALL_SECONDS * 1000)
  if (!before || newest[gap] == null || before[gap] == null) return null
  const grown = newest[gap] - before[gap]
  const passed = (newest[0] - before[0]) / 1000
  return grown > 0.95 * passed && newest[records] > 0 &&
    red("watermark stalled", `it has not moved for a minute or more, while records come in; the gap is ${format.seconds(newest[gap])}`, "operators")
}

const failures = new Map()

function modelTrouble({ models, job }) {
  for (const model of models) {
    if (model.circuit && model.circuit !== "closed") {
      return red("model server", `the circuit of ${model.operator} is ${model.circuit}`, "inference")
    }
    const now = Object.values(model.failures ?? {}).reduce((sum, n) => sum + n, 0)
    const seen = failures.get(model.operator) ?? { count: now, grew: 0 }
    failures.set(model.operator, { count: now, grew: now > seen.count ? job.now_ms : seen.grew })
    if (job.now_ms - failures.get(model.operator).grew < RECENT_MS) {
      return red("model failures", `${model.operator}: ${format.count(now)} since the start, and more within the last 5 min`, "inference")
    }
  }
  return null
}

function failedCheckpoints({ checkpoints, job }) {
  const recent = checkpoints.filter(one => one.result === "failed" && one.started_ms > job.now_ms - RECENT_MS)
  return recent.length > 0 &&
    red("checkpoints fail", `${format.plural(recent.length, "checkpoint")} in the last 5 min, the newest #${recent[0].epoch}`, "checkpoints")
}

function slowCheckpoints({ job }) {
  const p99 = job.checkpoint_seconds?.p99
  return p99 > job.checkpoint_interval_seconds &&
    amber("slow checkpoints", `p99 is ${format.seconds(p99)}, the interval is ${format.seconds(job.checkpoint_interval_seconds)}`, "checkpoints")
}

function backpressured({ operators }) {
  const worst = operators.filter(one => one.backpressured > HIGH)
  return worst.length > 0 &&
    amber("backpressure high", worst.map(one => `${one.name} is held up ${format.percent(one.backpressured)} of the time`).join(", "), "graph")
}

function recentErrors({ logs, job }) {
  const recent = logs.filter(line => line.level === "ERROR" && line.time_ms > job.now_ms - RECENT_MS)
  return recent.length > 0 && amber("errors in the log", `${format.plural(recent.length, "line")} in the last 5 min`, "log")
}

/** Flink's classes, which people on call have in their heads. */
export function pressure(share) {
  if (share == null) return "n/a"
  return share > HIGH ? "HIGH" : share > 0.1 ? "LOW" : "OK"
}
