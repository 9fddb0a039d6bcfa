// The graph as it runs: a node for each operator with its rates, its time and its watermark; an edge is as wide as the
// queue at its end and says in a word how much its start is held up. The layout is made once; each second only
// attributes and texts change.

import { attribute, byId, s, text } from "./dom.js"
import * as format from "./format.js"
import * as hash from "./hash.js"
import { route } from "./route.js"
import { pressure, recentOf } from "./rules.js"
import { on, store } from "./store.js"

const NODE = { width: 160, height: 120 }
const PAD = 16
/** Room for an edge and its label, at least and at most. A graph that is still too wide is drawn smaller, and then scrolls. */
const GAP = { least: 40, most: 90 }
const SMALLEST_SCALE = 0.8
const narrow = matchMedia("(max-width: 600px)")
const LONGEST_NAME = 15

/** A shape for each kind of operator, 12 by 12. */
const KINDS = {
  source: "M1 1L11 6L1 11Z", sink: "M1 1H11V11H1Z M4 6L6 8.5L8 6 M6 3V8",
  keyed: "M6 1A5 5 0 1 0 6 11A5 5 0 1 0 6 1Z M6 3V6L8.5 7.5", batch: "M1 2H11 M1 6H11 M1 10H11",
}
const OTHER = "M1 6H10 M7 3L10 6L7 9"

let drawn = { nodes: new Map(), edges: [], key: "" }

export function start() {
  text(byId("graph-legend"), "Bars: ▮ busy, ▨ backpressured (held up by what follows), ▯ idle. Edges: width is the queue, OK ≤ 10 % < LOW ≤ 50 % < HIGH of the time backpressured.")
  on("graph", draw)
  on("operators job", update)
  narrow.addEventListener("change", draw)
  hash.onChange(name => name === "op" && update())
}

function draw() {
  const { graph } = store
  const key = JSON.stringify(graph) + narrow.matches
  if (key === drawn.key) return
  const down = narrow.matches
  const room = byId("graph-box").clientWidth - 2
  const columns = 1 + Math.max(0, ...graph.nodes.map(node => node.column))
  const wide = (room - 2 * PAD - columns * NODE.width) / Math.max(1, columns - 1)
  const along = down ? 34 : Math.max(GAP.least, Math.min(GAP.most, Math.floor(wide)))
  const laid = route(graph, { ...NODE, along, across: down ? 14 : 22 }, down)
  const [width, height] = [laid.width + 2 * PAD, laid.height + 2 * PAD]
  const scale = Math.max(SMALLEST_SCALE, Math.min(1, room / width))
  const svg = s("svg", {
    viewBox: `${-PAD} ${-PAD} ${width} ${height}`, width: width * scale, height: height * scale, role: "group", "aria-label": "Operators of the job",
  })
  const [lines, labels] = [s("g", { "aria-hidden": "true" }), s("g", { "aria-hidden": "true" })]
  svg.append(pattern(), lines, labels)
  drawn = { key, nodes: new Map(), edges: graph.edges.map(edge => addEdge(lines, labels, edge, laid)) }
  for (const node of graph.nodes) drawn.nodes.set(node.name, addNode(svg, node, laid.at(node.id)))
  byId("graph-box").replaceChildren(svg)
  update()
}

/** Stripes: what is held up is told from what is busy without its colour. */
function pattern() {
  const stripes = s("pattern", { id: "stripes", width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    s("rect", { width: 5, height: 5, class: "stripe-back" }), s("rect", { width: 2, height: 5, class: "stripe" }))
  return s("defs", {}, stripes)
}

function addEdge(lines, labels, edge, laid) {
  const path = s("path", { d: laid.path(edge), class: "edge", "data-exchange": edge.exchange, "data-dead": edge.dead_letters })
  const { x, y } = laid.middle(edge)
  const label = s("text", { x, y: y - 5, class: "edge-label" })
  const word = s("text", { x, y: y + 13, class: "edge-label word" })
  lines.append(path)
  labels.append(label, word)
  return { edge, path, label, word }
}

function addNode(svg, node, { x, y }) {
  const line = (dy, name) => s("text", { x: 10, y: dy, class: name })
  const bar = name => s("rect", { x: 10, y: 56, width: 0, height: 8, class: name })
  const parts = {
    rates: line(47, "rates"), busy: bar("busy"), held: bar("held"), idle: bar("idle"),
    shares: line(78, "shares"), time: line(94, "rest"), kept: line(110, "rest"), badge: s("text", { x: NODE.width - 8, y: -4, class: "badge" }), title: s("title"),
  }
  const select = () => hash.set("op", hash.get("op") === node.name ? "" : node.name)
  // The button lies over the node, with all that the node shows as its name.
  parts.button = s("rect", {
    width: NODE.width, height: NODE.height, rx: 8, class: "hit", role: "button", tabindex: 0, onclick: select,
    onkeydown: event => {
      if (event.key !== "Enter" && event.key !== " ") return
      event.preventDefault()
      select()
    },
  }, parts.title)
  const group = s("g", { transform: `translate(${x} ${y})`, class: "node", "data-kind": node.kind }, s("g", { "aria-hidden": "true" },
    s("rect", { width: NODE.width, height: NODE.height, rx: 8, class: "box" }),
    s("path", { d: KINDS[node.kind] ?? OTHER, transform: "translate(10 9)", class: "kind" }),
    s("text", { x: 28, y: 19, class: "name" }, cut(node.name)), s("text", { x: 10, y: 33, class: "about" }, `${node.kind} × ${node.workers}`),
    parts.rates, parts.busy, parts.held, parts.idle, parts.shares, parts.time, parts.kept, parts.badge), parts.button)
  svg.append(group)
  return { group, parts, node }
}

/** Long names often differ only at their end: the middle is left out. */
const cut = name => (name.length > LONGEST_NAME ? `${name.slice(0, 8)}…${name.slice(9 - LONGEST_NAME)}` : name)

function update() {
  const operators = new Map(store.operators.map(one => [one.name, one]))
  const { cause } = store.job ?? {}
  for (const [name, { group, parts, node }] of drawn.nodes) {
    const one = operators.get(name)
    attribute(parts.button, "aria-pressed", hash.get("op") === name ? "true" : "false")
    attribute(group, "data-selected", hash.get("op") === name)
    attribute(group, "data-cause", cause?.operator === name)
    attribute(group, "data-waits", cause?.waiting?.includes(name))
    if (one) fill(parts, one, node, cause)
  }
  const names = new Map(store.graph.nodes.map(node => [node.id, node.name]))
  const outs = count(store.graph.edges.filter(edge => !edge.dead_letters).map(edge => edge.from))
  const ins = count(store.graph.edges.map(edge => edge.to))
  for (const { edge, path, label, word } of drawn.edges) {
    const [from, to] = [operators.get(names.get(edge.from)), operators.get(names.get(edge.to))]
    const class_ = pressure(from?.backpressured)
    // Letters are few: what holds the records up does not hold them up.
    attribute(path, "data-pressure", edge.dead_letters ? null : class_)
    attribute(path, "stroke-width", (1.5 + 1.6 * Math.log10(1 + (to?.queue ?? 0))).toFixed(1))
    // With several ways out, only the one that enters alone has a rate that is known.
    const known = edge.dead_letters ? null : outs.get(edge.from) === 1 ? from?.out_per_second : ins.get(edge.to) === 1 ? to?.in_per_second : null
    text(label, known == null ? "" : format.short(known))
    // All edges that leave an operator wait alike: the word stands at the first.
    const first = store.graph.edges.find(other => other.from === edge.from && !other.dead_letters) === edge
    text(word, first && (class_ === "LOW" || class_ === "HIGH") ? class_ : "")
  }
}

const count = ids => ids.reduce((sums, id) => sums.set(id, (sums.get(id) ?? 0) + 1), new Map())

function fill(parts, one, node, cause) {
  const isSource = node.kind === "source"
  const rates = isSource ? `out ${format.short(one.out_per_second)}/s`
    : node.kind === "sink" ? `in ${format.short(one.in_per_second)}/s`
      : `${format.short(one.in_per_second)} → ${format.short(one.out_per_second)}/s`
  text(parts.rates, rates)
  const room = NODE.width - 20
  let x = 10
  for (const [part, share] of [["busy", one.busy], ["held", one.backpressured], ["idle", one.idle]]) {
    const width = Math.max(0, Math.min(room - (x - 10), Math.round((share ?? 0) * room)))
    attribute(parts[part], "x", x)
    attribute(parts[part], "width", part === "idle" ? room - (x - 10) : width)
    x += width
  }
  const measured = one.busy != null
  text(parts.shares, measured ? `busy ${format.percent(one.busy)} · backpr. ${format.percent(one.backpressured)}` : "time not measured")
  const gap = one.input_ended ? "end of input" : one.watermark_gap_seconds == null ? null : `gap ${format.seconds(one.watermark_gap_seconds)}`
  const queue = one.queue ? `queue ${format.short(one.queue)}` : null
  text(parts.time, gap ?? "no watermark")
  text(parts.kept, [queue, one.state_bytes && format.bytes(one.state_bytes)].filter(Boolean).join(" · "))
  const recent = recentOf(one)
  text(parts.badge, recent ? `✖ ${format.short(recent)} dead letters now` : one.dead_letters ? `${format.short(one.dead_letters)} old dead letters` : "")
  attribute(parts.badge, "data-recent", recent > 0)
  const words = [
    `${node.name}, ${node.kind}, ${format.plural(node.workers, "worker")}`, rates,
    measured && `busy ${format.percent(one.busy)}, backpressured ${format.percent(one.backpressured)}, idle ${format.percent(one.idle)}`,
    gap && (one.input_ended ? gap : `watermark ${gap}`), one.queue != null && `queue ${format.count(one.queue)}`, one.state_bytes && `state ${format.bytes(one.state_bytes)}`,
    one.dead_letters && format.plural(one.dead_letters, "dead letter"), cause?.operator === node.name && "the bottleneck",
  ].filter(Boolean)
  attribute(parts.button, "aria-label", words.join("; "))
  text(parts.title, words.join("\n"))
}
