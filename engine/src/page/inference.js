// Models: which one runs, how full its batches are, what fell back and why, and the circuit to its server in words;
// and the hot keys of keyed operators.

import * as api from "./api.js"
import { attribute, byId, h, list, pairs, shown, text } from "./dom.js"
import * as format from "./format.js"
import { on, store } from "./store.js"

const HASH_SHOWN = 12

export function start() {
  on("models", showModels)
  on("hotKeys", showKeys)
  on("graph", async () => shown(byId("keys"), await api.offers("hotkeys")))
  showModels()
  showKeys()
}

function showModels() {
  const box = byId("inference-box")
  const models = store.models.length ? store.models : [null]
  list(box, models, model => model?.operator ?? "", model => (model ? panel(model) : h("p", { class: "muted" }, "This job runs no model.")), (node, model) => model && fill(node, model))
}

function panel(model) {
  return h("div", { class: "panel" }, h("h3", {}, model.operator), h("dl", { class: "pairs" }))
}

function fill(node, model) {
  const counts = of => Object.entries(of ?? {}).filter(([, n]) => n).map(([name, n]) => `${name.replaceAll("_", " ")} ${format.count(n)}`).join(", ")
  const size = model.batch_size
  const batch = size ? `p50 ${format.count(size.p50)}, p99 ${format.count(size.p99)}, largest ${format.count(size.max)}` : "no batch yet"
  attribute(node, "data-circuit", model.circuit && model.circuit !== "closed" ? "open" : null)
  pairs(node.lastChild, [
    ["model", [model.name, model.version && `version ${model.version}`].filter(Boolean).join(", ") || "–"],
    ["hash", model.hash ? model.hash.slice(0, HASH_SHOWN) + "…" : "–"],
    ["runs on", model.backend ?? "–"], ["records a batch", batch], ["records waiting", format.count(model.queue)],
    ["circuit", model.circuit ? (model.circuit === "closed" ? "closed: calls go through" : `${model.circuit}: calls are kept back`) : "none: no server is called"],
    ["failures", counts(model.failures) || "none"], ["fallbacks", counts(model.fallbacks) || "none"],
  ])
  const hash = [...node.querySelectorAll("dd")][1]
  attribute(hash, "title", model.hash)
}

function showKeys() {
  const operators = store.hotKeys.filter(one => one.keys?.length)
  const create = one => (one ? h("div", { class: "panel" }, h("h3", {}, one.operator), h("ol", { class: "keys" })) : h("p", { class: "muted" }, "No key has 1 % of the records of its operator."))
  list(byId("keys-box"), operators.length ? operators : [null], one => one?.operator ?? "", create, (node, one) => {
    if (!one) return
    const row = () => h("li", {}, h("code"), " ", h("meter", { min: 0, max: 1, "aria-hidden": "true" }), " ", h("span"))
    list(node.lastChild, one.keys, key => key.key, row, (item, key) => {
      text(item.querySelector("code"), key.key)
      item.querySelector("meter").value = key.share
      text(item.querySelector("span"), format.percent(key.share) + (store.job?.workers > 1 ? ` on worker ${key.worker}` : ""))
    })
  })
}
