// Versions of models that change while the job runs: which one scores what, how a rollout goes, what was changed, and the
// buttons that change it. Whatever is asked for is answered by the list of changes.

import * as api from "./api.js"
import { attribute, byId, h, list, pairs, shown, text } from "./dom.js"
import * as format from "./format.js"
import { on, store } from "./store.js"

const CHANGES_SHOWN = 12
const FORMS = {
  switch: { title: "Switch to it", make: model => ({ switch: { model } }) },
  canary: { title: "Try it on a share of the keys", make: (model, share) => ({ canary: { model, share } }), share: true },
  shadow: { title: "Compare it in the shadow", make: model => ({ shadow: { model } }) },
  rollout: { title: "Roll it out step by step", make: model => ({ rollout: { model } }) },
}

export function start() {
  on("versions", update)
  update()
}

function update() {
  const operators = Object.entries(store.versions).map(([name, status]) => ({ name, status }))
  shown(byId("versions-box"), operators.length > 0)
  list(byId("versions-box"), operators, one => one.name, create, fill)
}

function create({ name }) {
  const said = h("p", { class: "muted", role: "status" })
  const ask = (change, sure) => send(said, name, change, sure)
  const button = (word, title, change, sure) => h("button", { type: "button", "data-change": word, onclick: () => ask(change(), sure) }, title)
  const suspended = () => !store.versions[name]?.rollout?.suspended
  const buttons = h("div", { class: "controls" },
    button("promote", "Promote the canary", () => ({ promote: {} }), "Have the canary score all records?"),
    button("roll_back", "Roll back", () => ({ roll_back: {} }), "Roll back, from the next epoch on?"),
    button("suspend", "Suspend the rollout", () => ({ suspend: suspended() })))
  const head = ["when", "what", "by", "state", "reason"].map(word => h("th", { scope: "col" }, word))
  return h("div", { class: "panel" }, h("h3", {}, `Versions of ${name}`), h("dl", { class: "pairs" }), h("p", { class: "rollout" }), buttons, form(ask), said,
    h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `Changes of ${name}, the newest first` },
      h("table", {}, h("thead", {}, h("tr", {}, head)), h("tbody"))))
}

function form(ask) {
  const model = h("input", { type: "text", placeholder: "model/2", "aria-label": "Version: name/2, name@alias, or name for the latest" })
  const share = h("input", { type: "number", min: 0, max: 1, step: 0.01, value: 0.05, "aria-label": "Share of the keys" })
  const which = h("select", { "aria-label": "What to do with it" }, Object.entries(FORMS).map(([value, { title }]) => h("option", { value }, title)))
  const choose = () => shown(share, !!FORMS[which.value].share)
  which.addEventListener("change", choose)
  choose()
  const submit = event => {
    event.preventDefault()
    ask(FORMS[which.value].make(model.value.trim(), Number(share.value)), `${FORMS[which.value].title}: ${model.value.trim()}?`)
  }
  return h("form", { class: "controls", onsubmit: submit }, h("label", {}, "Version ", model), which, share, h("button", { type: "submit" }, "Ask for it"))
}

async function send(said, operator, change, sure) {
  if (sure && !confirm(sure)) return
  text(said, "asked …")
  try {
    const { id } = await api.ask("changes", { operator, change, by: "the page" })
    text(said, `asked for, as ${id}: the list says what becomes of it`)
  } catch (error) {
    text(said, `${error instanceof api.Problem ? "refused" : "failed"}: ${error.message}`)
    if (error.status === 401) byId("token").focus()
  }
}

const named = model => (model ? [model.name, model.version && `version ${model.version}`, model.hash && model.hash.slice(0, 12)].filter(Boolean).join(", ") : null)

function fill(panel, { name, status }) {
  const [, dl, rollout, buttons] = panel.children
  const { primary = [], canary, shadow, compared, roles = [], rollout: rolled } = status ?? {}
  const role = (of, model) => {
    const one = roles.find(one => one.role === of)
    return one && `${format.count(one.records)} records${one.keys == null ? "" : ` of ${format.count(one.keys)} keys`}, mean ${number(one.mean)}, ${format.count(one.failed)} failed`
  }
  pairs(dl, [
    ["primary", primary.map(one => named(one) + (one.from_event_time ? ` from ${one.from_event_time} on` : "")).join("; ") || "–"],
    ["canary", canary ? `${named(canary)}, ${format.percent(canary.share)} of the keys` : "none"],
    ...(canary ? [["seen of the canary", role("canary") ?? "nothing yet"], ["seen of as many other keys", role("baseline") ?? "nothing yet"]] : []),
    ["shadow", shadow ? named(shadow) : "none"],
    ...(compared ? [["compared with the shadow", `${format.count(compared.records)} records, mean difference ${number(compared.mean_difference)}, largest ${number(compared.largest_difference)}, ${format.count(compared.failed)} failed, ${format.count(compared.dropped)} dropped`]] : []),
  ])
  shown(rollout, !!rolled)
  if (rolled) text(rollout, [`Rollout of ${rolled.model}${rolled.suspended ? ", suspended" : ""}`, rolled.step != null && `step ${rolled.step + 1} of ${rolled.settings.steps.length}`, rolled.checks.map(one => `${one.name} ${number(one.value)} of at most ${one.max}`).join(", "), rolled.said].filter(Boolean).join(" · "))
  const can = { promote: !!canary, roll_back: true, suspend: !!rolled }
  for (const button of buttons.children) shown(button, can[button.dataset.change])
  text(buttons.querySelector("[data-change=suspend]"), rolled?.suspended ? "Go on with the rollout" : "Suspend the rollout")
  const changes = store.changes.filter(one => one.operator === name).slice(0, CHANGES_SHOWN)
  shown(panel.lastChild, changes.length > 0)
  const row = () => h("tr", {}, h("td"), h("td"), h("td"), h("td"), h("td"))
  list(panel.querySelector("tbody"), changes, one => one.id, row, ({ cells }, one) => {
    const state = one.state === "scheduled" ? `from epoch ${one.epoch} on${one.committed ? "" : ", not committed yet"}` : one.state
    const values = [format.clock(one.asked_ms), what(one.change), one.by, state, [one.error, one.reason].filter(Boolean).join(" · ")]
    values.forEach((value, at) => text(cells[at], value))
    attribute(cells[3], "data-state", one.state)
  })
}

const number = value => (value == null ? "–" : Number(value.toPrecision(4)).toString())

/** A change in a few words. */
function what(change) {
  const [kind, of] = Object.entries(change ?? {})[0] ?? ["?", {}]
  if (typeof of !== "object" || of === null) return `${kind.replaceAll("_", " ")} ${of}`
  const model = typeof of.model === "string" ? of.model : of.model?.name ? `${of.model.name}/${of.model.version}` : of.model ? "the program's own model" : ""
  const share = of.buckets != null ? format.percent(of.buckets / 10_000) : of.share != null ? format.percent(of.share) : ""
  return [kind === "decided" ? `decided: ${what(of.change)}` : kind.replaceAll("_", " "), model, share, of.from_event_time != null && `from ${typeof of.from_event_time === "number" ? format.instant(of.from_event_time) : of.from_event_time} on`].filter(Boolean).join(" ")
}
