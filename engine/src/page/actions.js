// What changes the job. Which actions there are, the API says itself; each needs the token, and is asked for twice.

import * as api from "./api.js"
import { byId, h, list, shown, text } from "./dom.js"
import * as format from "./format.js"
import { on, store } from "./store.js"

const ACTIONS = [
  { path: "checkpoint", title: "Take a checkpoint", body: () => ({}) },
  {
    path: "savepoints", title: "Take a savepoint", name: "Name of the savepoint", body: name => ({ name }), follow: savepoint,
    sure: "Take a savepoint of the running job?",
  },
  { path: "stop", title: "Stop the job", body: () => ({ drain: false }), sure: "Stop the job, with a last checkpoint?" },
]

const FOLLOW_MS = 500

/** Waits until a savepoint is taken, and returns what there is to say. */
async function savepoint({ id }) {
  for (;;) {
    const { savepoints } = await api.read("savepoints")
    const one = savepoints.find(one => one.id === id)
    if (!one) throw new Error("The job has started anew meanwhile: see tidemill savepoint list.")
    if (one.state === "failed") throw new Error(one.error)
    if (one.state === "taken") return `Savepoint ${one.name} of epoch ${one.epoch} is taken (${format.bytes(one.bytes)}).`
    await new Promise(resolve => setTimeout(resolve, FOLLOW_MS))
  }
}

export function start() {
  const said = h("p", { id: "action-said", role: "status" })
  const controls = h("div", { class: "controls" })
  byId("actions-box").append(token(said), controls, said)
  on("connection", async () => {
    const offered = store.connection === "live" ? await Promise.all(ACTIONS.map(({ path }) => api.offers(path, "post"))) : []
    if (offered.length) list(controls, ACTIONS.filter((_, i) => offered[i]), action => action.path, action => control(action, said))
    shown(byId("actions"), store.refused || controls.children.length > 0)
  })
}

function token(said) {
  const input = h("input", { type: "password", id: "token", autocomplete: "off" })
  const keep = event => {
    event.preventDefault()
    api.setToken(input.value.trim())
    input.value = ""
    text(said, "The token is kept for this tab.")
  }
  const place = "The job writes it to a file beside its checkpoints, or logs it once at the start."
  return h("form", { class: "controls", onsubmit: keep }, h("label", {}, "Token ", input), h("button", { type: "submit" }, "Use"), h("span", { class: "muted" }, place))
}

function control(action, said) {
  const name = action.name ? h("input", { type: "text", "aria-label": action.name, placeholder: "name" }) : null
  const run = async () => {
    if (action.sure && !confirm(action.sure)) return
    text(said, `${action.title} …`)
    try {
      const answer = await api.ask(action.path, action.body(name?.value.trim()))
      text(said, `${action.title}: accepted. ${JSON.stringify(answer)}`)
      if (action.follow) text(said, await action.follow(answer))
    } catch (error) {
      text(said, `${action.title}: ${error instanceof api.Problem ? "refused" : "failed"}. ${error.message}`)
      if (error.status === 401) byId("token").focus()
    }
  }
  return h("span", {}, name, " ", h("button", { type: "button", "data-action": action.path, onclick: run }, action.title))
}
