// The job's API: JSON, errors of RFC 9457, and the stream of events. The stream is read by fetch, because an
// EventSource cannot send the token that a job beyond loopback asks for.

import * as hash from "./hash.js"

const BASE = "/api/v1/"
const KEY = "tidemill-token"

/** Keeps a token for this tab. */
export const setToken = token => sessionStorage.setItem(KEY, token)
export const hasToken = () => !!sessionStorage.getItem(KEY)

const given = hash.take("token")
if (given) setToken(given)

function headers() {
  const token = sessionStorage.getItem(KEY)
  return token ? { Authorization: `Bearer ${token}` } : {}
}

/** An answer that is an error, in the server's own words. */
export class Problem extends Error {
  constructor(status, { title, detail } = {}) {
    super(detail || title || `the server answered ${status}`)
    this.status = status
  }
}

async function checked(answer) {
  if (answer.ok) return answer
  throw new Problem(answer.status, await answer.json().catch(() => ({})))
}

const ANSWER_WITHIN_MS = 8000

/** Reads a resource. A server that accepts and says nothing counts as one that is gone. */
export async function read(path) {
  const signal = AbortSignal.timeout(ANSWER_WITHIN_MS)
  return (await checked(await fetch(BASE + path, { headers: headers(), cache: "no-store", signal }))).json()
}

let described = null

/** Returns whether this job's API has a resource. A browser reports each request that finds nothing as an error. */
export async function offers(path, method = "get") {
  described ??= read("openapi.json").catch(() => {
    described = null
    return { paths: {} }
  })
  return !!(await described).paths?.[BASE + path]?.[method]
}

/** Asks the job to do something. */
export async function ask(path, body = {}) {
  const sent = { ...headers(), "Content-Type": "application/json" }
  const answer = await checked(await fetch(BASE + path, { method: "POST", headers: sent, body: JSON.stringify(body) }))
  return answer.json().catch(() => ({}))
}

/** Reads events and calls `handle(name, value)` for each, until the stream ends or `signal` aborts it. */
export async function stream(path, signal, handle) {
  const answer = await checked(await fetch(BASE + path, { headers: headers(), cache: "no-store", signal }))
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader()
  const next = parser(handle)
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    next(value)
  }
}

/** Returns a function that is fed the pieces of a text/event-stream and calls `handle` for each whole event. */
export function parser(handle) {
  let rest = ""
  let name = ""
  let data = []
  return piece => {
    const lines = (rest + piece).split(/\r?\n/)
    rest = lines.pop()
    for (const line of lines) {
      if (line === "") {
        if (data.length) handle(name || "message", JSON.parse(data.join("\n")))
        name = ""
        data = []
      } else if (line.startsWith("event:")) name = line.slice(6).trim()
      else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""))
      // Other fields, and comments that keep the connection alive, mean nothing here.
    }
  }
}
