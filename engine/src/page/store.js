// What the page knows of the job. Panels read it and are told when it changes; only `live.js` and `tail.js` write.

export const store = {
  job: null,
  graph: { nodes: [], edges: [] },
  operators: [],
  /** All processes of a job that has several, as the one that answers knows them; `null` of a job that has one. */
  cluster: null,
  /** Newest first. */
  checkpoints: [],
  models: [],
  /** What operators say whose models change while the job runs, by name, and the changes, newest first. */
  versions: {},
  changes: [],
  /** What was found in the last window of each version, by operator. */
  drift: {},
  hotKeys: [],
  logs: [],
  /** Why no lines of the log are kept, if none are. */
  noLogs: "",
  deadLetters: [],
  history: { columns: [], rows: [] },
  /** `live`, `gone` (no answer), or `ended` (it said so before the connection closed). */
  connection: "starting",
  /** When the last answer came, by the reader's clock; how it ended, and what the newest try said. */
  heard: 0,
  why: "",
  since: "",
  /** Whether the job asks for a token that this page does not have. */
  refused: false,
  /** Starts of the job that this page has seen, after the first. */
  restarts: [],
  /** Events that the server dropped because this page read too slowly. */
  dropped: 0,
}

const HISTORY_ROWS = 900
const listeners = new Map()
const late = new Set()
let paused = false

/** Calls `update` after each change of one of the named parts. */
export function on(names, update) {
  for (const name of names.split(" ")) listeners.set(name, [...(listeners.get(name) ?? []), update])
}

/** Says that parts have changed. A panel that reads several of them is updated once. While paused, only the state of
 * the connection is shown: a job that is gone has to look gone. */
export function changed(...names) {
  if (paused) names.filter(name => name !== "connection").forEach(name => late.add(name))
  const now = paused ? names.filter(name => name === "connection") : names
  new Set(now.flatMap(name => listeners.get(name) ?? [])).forEach(update => update())
}

export const isPaused = () => paused

/** Stops the panels, or lets them catch up. */
export function pause(is) {
  paused = is
  if (!is) {
    const names = [...late]
    late.clear()
    changed(...names)
  }
  changed("connection")
}

/** Adds rows of the history that are newer than those that are there. */
export function addRows(rows) {
  const known = store.history.rows
  const last = known.length ? known[known.length - 1][0] : 0
  store.history.rows = known.concat(rows.filter(row => row[0] > last)).slice(-HISTORY_ROWS)
}

/** A row without values: the line is broken where nothing is known. */
export function addGap(timeMs) {
  addRows([[timeMs, ...store.history.columns.slice(1).map(() => null)]])
}

/** Returns a column of the history. */
export function column(name) {
  const index = store.history.columns.indexOf(name)
  return store.history.rows.map(row => (index < 0 ? null : (row[index] ?? null)))
}
