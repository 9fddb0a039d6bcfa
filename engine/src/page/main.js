// Starts the panels, and then the connection. Each module is one matter; `store.js` is what they share.

import * as actions from "./actions.js"
import * as charts from "./charts.js"
import * as checkpoints from "./checkpoints.js"
import * as cluster from "./cluster.js"
import * as detail from "./detail.js"
import { attribute, byId, h, shown, text } from "./dom.js"
import * as drift from "./drift.js"
import * as graph from "./graph.js"
import * as hash from "./hash.js"
import * as headline from "./headline.js"
import * as inference from "./inference.js"
import * as live from "./live.js"
import * as log from "./log.js"
import * as operators from "./operators.js"
import { save } from "./save.js"
import { isPaused, on, pause, store } from "./store.js"
import * as tail from "./tail.js"
import * as versions from "./versions.js"

const THEMES = ["system", "light", "dark"]

function theme() {
  const stored = () => localStorage.getItem("tidemill-theme") ?? THEMES[0]
  const show = () => {
    const chosen = hash.get("theme", stored())
    attribute(document.documentElement, "data-theme", chosen === THEMES[0] ? null : chosen)
    text(byId("theme"), `Theme: ${chosen}`)
    charts.redraw()
  }
  byId("theme").addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(hash.get("theme", stored())) + 1) % THEMES.length]
    localStorage.setItem("tidemill-theme", next)
    hash.set("theme", next)
  })
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show)
  hash.onChange(name => name === "theme" && show())
  show()
}

/** The hash holds what is selected, so links to sections scroll, move the focus, and are written down as `at`. */
function sections() {
  for (const title of document.querySelectorAll("main h2")) {
    const section = title.closest("section")
    byId("sections").append(h("a", { href: "#" + section.id }, title.dataset.title))
  }
  // A job need not have everything.
  const showLinks = () => byId("sections").childNodes.forEach(link => shown(link, !byId(link.hash.slice(1)).hidden))
  new MutationObserver(showLinks).observe(document.querySelector("main"), { attributeFilter: ["hidden"], subtree: true })
  showLinks()
  const go = id => {
    const title = byId(id)?.querySelector("h2")
    if (!title) return
    attribute(title, "tabindex", -1)
    title.focus({ preventScroll: true })
    byId(id).scrollIntoView()
  }
  addEventListener("click", event => {
    const link = event.target.closest?.('a[href^="#"]')
    if (!link) return
    event.preventDefault()
    hash.set("at", link.hash.slice(1))
    go(link.hash.slice(1))
  })
  let first = true
  on("operators", () => {
    if (first && hash.get("at")) go(hash.get("at"))
    first = false
  })
}

byId("pause").addEventListener("click", () => {
  pause(!isPaused())
  attribute(byId("pause"), "aria-pressed", isPaused() ? "true" : "false")
  text(byId("pause"), isPaused() ? "Resume" : "Pause")
})
byId("save").addEventListener("click", save)
on("connection", () => text(byId("dropped"), store.dropped ? ` · ${store.dropped} updates skipped: this page reads too slowly` : ""))

sections()
for (const panel of [headline, graph, detail, charts, operators, cluster, checkpoints, inference, versions, drift, tail, log, actions]) panel.start()
theme()
live.start()
