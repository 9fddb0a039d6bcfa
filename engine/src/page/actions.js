// What changes the job. Which actions there are, the API says itself; each needs the token, and is asked for twice.

import * as api from "./api.js"
import { byId, h, shown, text } from "./dom.js"

const ACTIONS = [
  { path: "checkpoint", title: "Take a checkpoint", body: () => ({}) },
  { path: "savepoints", title: "Take a savepoint", name: "Name of the savepoint", body: name => ({ name }) },
  { path: "stop", title: "Stop the job", body: () => ({ drain: false }), sure: "Stop the job, with a last checkpoint?" },
]

export async function start() {
  const { paths = {} } = await api.read("openapi.json").catch(() => ({}))
  const known = ACTIONS.filter(({ path }) => paths[`/api/v1/${path}`]?.post)
  if (!known.length) return
  shown(byId("actions"), true)
  const said = h("p", { id: "action-said", role: "status" })
  byId("actions-box").append(token(said), h("div", { class: "controls" }, ...known.map(action => control(action, said))), said)
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
    } catch (error) {
      text(said, `${action.title}: refused. ${error.message}`)
    }
  }
  return h("span", {}, name, " ", h("button", { type: "button", "data-action": action.path, onclick: run }, action.title))
}
