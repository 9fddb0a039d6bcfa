// The page as one file for the incident ticket: what is shown, charts as pictures, and all that is known as JSON. The
// file loads nothing and runs nothing.

import { h } from "./dom.js"
import * as format from "./format.js"
import { store } from "./store.js"

const POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
const LIVE_ONLY = "script, link, button, .tools, .controls, .skip, nav, footer, #actions, noscript"

export async function save() {
  const sheets = await Promise.all(["/app/style.css", "/app/vendor/uPlot.min.css"].map(async path => (await fetch(path)).text()))
  const file = new Blob([await whole(sheets.join("\n"))], { type: "text/html" })
  const link = h("a", { href: URL.createObjectURL(file), download: name() })
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000)
}

function name() {
  const job = (store.job?.job ?? "job").replace(/[^A-Za-z0-9_.-]+/g, "-")
  return `tidemill-${job}-${new Date().toISOString().slice(0, 19).replaceAll(":", "")}.html`
}

function whole(styles) {
  // A document that is not shown: what is changed in it loads nothing, and this page's policy says nothing of it.
  const page = document.implementation.createHTMLDocument().importNode(document.documentElement, true)
  const canvases = document.querySelectorAll("canvas")
  page.querySelectorAll("canvas").forEach((canvas, i) => canvas.replaceWith(picture(page, canvases[i])))
  page.querySelectorAll("button.link").forEach(one => one.replaceWith(...one.childNodes))
  page.querySelectorAll("button.sort").forEach(one => one.replaceWith(...one.childNodes))
  page.querySelectorAll(LIVE_ONLY).forEach(one => one.remove())
  page.querySelectorAll("[tabindex]").forEach(one => one.removeAttribute("tabindex"))
  page.querySelectorAll("g[role=button]").forEach(one => one.setAttribute("role", "img"))
  page.querySelector("head").prepend(h("meta", { charset: "utf-8" }), h("meta", { "http-equiv": "Content-Security-Policy", content: POLICY }))
  page.querySelector("head").append(h("style", {}, styles))
  const from = `Saved ${format.instant(Date.now())} from ${location.href.replace(/#.*/, "")}`
  page.querySelector("main").prepend(h("p", { class: "saved" }, from))
  page.querySelector("main").append(h("section", {}, h("h2", {}, "Everything as JSON"),
    h("details", {}, h("summary", {}, "show"), h("pre", {}, JSON.stringify(store)))))
  return "<!doctype html>\n" + page.outerHTML
}

function picture(page, canvas) {
  const image = page.ownerDocument.createElement("img")
  image.src = canvas.toDataURL()
  image.alt = ""
  image.style.width = canvas.style.width || "100%"
  image.style.height = canvas.style.height || "100%"
  return image
}
