// Drift: for each version the last window that was compared with its training data, feature by feature, the worst first,
// with the histograms of both over each other.

import { attribute, byId, h, list, s, shown, text } from "./dom.js"
import * as format from "./format.js"
import { on, store } from "./store.js"

const HASH_SHOWN = 12
/** So many features are shown at once; the rest, if it is steady, can be opened. */
const FIRST = 6
const WORDS = { drifted: "▲ drifted", steady: "● steady", inconclusive: "◌ inconclusive" }
const METHODS = {
  psi: "PSI", kolmogorov_smirnov: "Kolmogorov–Smirnov", jensen_shannon: "Jensen–Shannon", wasserstein: "Wasserstein",
  chi_square: "chi-square", z: "Z", kullback_leibler: "Kullback–Leibler", hellinger: "Hellinger",
}
const LIMITS = { above: "drift above", at_least: "drift from", at_most: "drift up to", below: "drift below" }

export function start() {
  on("drift", update)
  update()
}

function update() {
  const versions = Object.entries(store.drift).flatMap(([operator, parts]) =>
    Object.entries(parts).filter(([, window]) => window?.features).map(([version, window]) => ({ operator, version, window })))
  // A version that nothing is scored by any more is below, and closed. The others do not change places.
  const newest = Math.max(...versions.map(one => one.window.end_ms))
  const isOld = ({ window: { start_ms, end_ms } }) => 2 * end_ms - start_ms < newest
  versions.sort((a, b) => isOld(a) - isOld(b) || a.operator.localeCompare(b.operator) || a.version.localeCompare(b.version, "en", { numeric: true }))
  shown(byId("drift"), Object.keys(store.drift).length > 0)
  shown(byId("drift-legend"), versions.length > 0)
  shown(byId("drift-none"), versions.length === 0)
  list(byId("drift-box"), versions, one => `${one.operator} ${one.version}`, one => panel(one, !isOld(one)), fill)
}

function panel({ operator, version }, open) {
  const [name, hash = ""] = version.split("@")
  const title = h("h3", { title: version }, name, hash && h("span", { class: "muted" }, ` ${hash.slice(0, HASH_SHOWN)}`))
  return h("details", { class: "panel", open },
    h("summary", {}, title, h("span", { class: "verdicts" }), h("span", { class: "muted" })),
    h("p", { class: "reason" }),
    h("ul", { class: "features", "aria-label": `Features of ${name}, the worst first, as ${operator} has compared them` }),
    h("details", { class: "more" }, h("summary"), h("ul", { class: "features", "aria-label": `Other features of ${name}` })))
}

function fill(node, { window }) {
  const { features } = window
  const of = verdict => features.filter(one => one.verdict === verdict).length
  const [, verdicts, about] = node.firstChild.children
  const found = ["drifted", "inconclusive", "steady"].filter(of)
  list(verdicts, found, verdict => verdict, verdict => h("span", { class: "verdict", "data-verdict": verdict }), (one, verdict) => text(one, `${WORDS[verdict].split(" ")[0]} ${format.count(of(verdict))} ${verdict}`))
  text(about, `${minute(window.start_ms).replace(" UTC", "")} to ${minute(window.end_ms)} · ${format.plural(window.records, "record")}`)
  const [, why, above, rest] = node.children
  // Without a baseline nothing is known of any of them.
  const reason = features.every(one => !one.histogram && one.reason === features[0].reason) && features[0]?.reason
  shown(why, !!reason)
  text(why, reason || "")
  const cards = reason ? [] : features
  const first = Math.max(FIRST, cards.length - of("steady"))
  // One or two more are no reason to open something.
  const cut = cards.length - first > 2 ? first : cards.length
  const show = (box, some) => list(box, some, one => one.name, feature, (item, one) => describe(item, one, window))
  show(above, cards.slice(0, cut))
  shown(above, cut > 0)
  shown(rest, cut < cards.length)
  text(rest.firstChild, `${format.plural(cards.length - cut, "more feature")}, all steady`)
  show(rest.lastChild, cards.slice(cut))
}

function feature({ name }) {
  const table = h("details", { class: "values" }, h("summary", {}, "values"))
  return h("li", { class: "feature" }, h("h4", {}, name), h("span", { class: "verdict" }), h("p"), h("div", { class: "histogram" }), h("p", { class: "muted" }), h("p", { class: "muted missing" }), table)
}

function describe(item, one, window) {
  const [, verdict, statistic, box, means, missing, table] = item.children
  attribute(item, "data-verdict", one.verdict)
  attribute(verdict, "data-verdict", one.verdict)
  text(verdict, WORDS[one.verdict] ?? one.verdict)
  const compared = one.method && one.value != null && `${METHODS[one.method] ?? one.method}${isChance(one) ? ", p-value" : ""} ${number(one.value)} · ${LIMITS[one.drift_if] ?? "threshold"} ${number(one.threshold)}`
  text(statistic, [compared, one.reason].filter(Boolean).join(" · ") || "nothing left to compare")
  text(missing, `missing ${share(one.missing_share)}, in training ${share(one.missing_share_reference)}`)
  attribute(missing, "data-drifted", !!one.missing_drifted && one.verdict !== "inconclusive")
  text(means, one.mean == null || one.mean_reference == null ? `${format.short(one.n)} values` : `mean ${number(one.mean)}, in training ${number(one.mean_reference)}`)
  // It is drawn once per window.
  const drawn = `${window.start_ms} ${window.end_ms} ${one.n}`
  if (box.dataset.drawn === drawn) return
  box.dataset.drawn = drawn
  const bins = one.histogram ? binsOf(one.histogram) : []
  shown(box, bins.length > 0)
  shown(table, bins.length > 0)
  if (!bins.length) return
  box.replaceChildren(one.histogram.edges ? columns(one, bins) : rows(one, bins))
  tabulate(table, bins)
}

/** A time without its seconds, if there are none. */
const minute = ms => format.instant(ms).replace(/:00 UTC$/, " UTC")

const isChance = one => one.drift_if === "at_most" || one.drift_if === "below"
/** A number with three digits. */
export function number(value) {
  if (value == null) return "–"
  const size = Math.abs(value)
  if (size >= 1e15 || (size > 0 && size < 1e-4)) return value.toExponential(1)
  return size >= 1e6 ? format.short(value) : value.toLocaleString("en", { maximumSignificantDigits: 3 })
}

/** A share of one, of which a small part shows, too. */
export function share(value) {
  if (value > 0 && value < 5e-4) return "< 0.1 %"
  return value > 0 && value < 0.0995 ? `${(value * 100).toFixed(1)} %` : format.percent(value)
}

/** The bins with their names, and the shares of both sides. */
export function binsOf({ edges, labels, reference, window }) {
  const name = i => {
    if (!edges) return labels[i] == null ? "others" : typeof labels[i] === "number" ? number(labels[i]) : labels[i]
    if (i === 0) return `below ${number(edges[0])}`
    return i === edges.length ? `above ${number(edges[i - 1])}` : `${number(edges[i - 1])} to ${number(edges[i])}`
  }
  const bins = reference.map((training, i) => ({ name: name(i), training, now: window[i] ?? 0, outside: edges ? i === 0 || i === edges.length : labels[i] == null }))
  // What falls outside is only worth its place if there is something.
  return bins.filter(one => !one.outside || one.training > 0 || one.now > 0)
}

/** In words what the picture shows, for those who do not see it. */
function words(one, bins) {
  const most = side => bins.reduce((a, b) => (b[side] > a[side] ? b : a), bins[0])
  const said = side => `most, ${share(most(side)[side])}, ${one.histogram.edges && !most(side).outside ? "from " : ""}${most(side).name}`
  return `Histogram of ${one.name}. Window: ${one.n ? said("now") : "no values"}. Training data: ${said("training")}.`
}

const WIDTH = 320
const HEIGHT = 118
const TOP = 14
const BOTTOM = 100
/** Width of what is outside of the edges, and between it and what is inside. */
const OUTSIDE = 34
const GAP = 8
/** A share that a column cannot show; the table has it. */
const LEAST = 5e-4

/** Numbers: columns of the window, and over them the outline of the training data. */
function columns(one, bins) {
  const most = Math.max(...bins.flatMap(bin => [bin.training, bin.now]), 1e-9)
  const drawn = bins.filter(bin => !bin.outside || Math.max(bin.training, bin.now) >= LEAST)
  const outside = drawn.filter(bin => bin.outside)
  const step = (WIDTH - 2 - outside.length * (OUTSIDE + GAP)) / (drawn.length - outside.length)
  const y = value => BOTTOM - (value / most) * (BOTTOM - TOP)
  let x = 1
  const placed = drawn.map((bin, i) => {
    if (i > 0 && (bin.outside || drawn[i - 1].outside)) x += GAP
    const left = x
    x += bin.outside ? OUTSIDE : step
    return { ...bin, left, right: x }
  })
  const inside = placed.filter(bin => !bin.outside)
  const bars = placed.filter(bin => bin.now > 0).map(bin => bar(bin.left, y(bin.now), bin.right - bin.left, BOTTOM - y(bin.now)))
  const outline = some => some.length && s("path", { class: "training", d: `M${some[0].left} ${BOTTOM}${some.map(bin => `V${round(y(bin.training))}H${round(bin.right)}`).join("")}V${BOTTOM}` })
  const label = (at, anchor, value) => s("text", { x: round(at), y: HEIGHT - 3, class: anchor }, value)
  const { edges } = one.histogram
  const [low, high] = [inside[0], inside[inside.length - 1]]
  const middle = edges.length > 2 ? (edges[0] + edges[edges.length - 1]) / 2 : null
  const labels = [
    low && label(low.left, "from", number(edges[0])), low && middle != null && label((low.left + high.right) / 2, "middle", number(middle)), high && label(high.right, "to", number(edges[edges.length - 1])),
    ...placed.filter(bin => bin.outside).map(bin => label((bin.left + bin.right) / 2, "middle", bin.name.split(" ")[0])),
  ]
  const lines = [outline(inside), ...placed.filter(bin => bin.outside && bin.training > 0).map(bin => outline([bin]))]
  return picture(one, bins, HEIGHT, [
    s("path", { class: "axis", d: `M0 ${BOTTOM}.5H${WIDTH}` }), s("text", { x: 1, y: 10, class: "from most" }, share(most)),
    ...bars, ...lines.filter(Boolean), ...labels.filter(Boolean),
  ])
}

const ROW = 18
const NAME = 104
const VALUE = 46

/** Categories, and few numbers: a row for each. */
function rows(one, bins) {
  const most = Math.max(...bins.flatMap(bin => [bin.training, bin.now]), 1e-9)
  const length = value => (value / most) * (WIDTH - NAME - VALUE - 2)
  return picture(one, bins, bins.length * ROW + 2, bins.flatMap((bin, i) => [
    s("text", { x: NAME - 6, y: i * ROW + 13, class: "to" }, bin.name.length > 15 ? `${bin.name.slice(0, 14)}…` : bin.name),
    bin.now > 0 && bar(NAME, i * ROW + 3, length(bin.now), ROW - 5),
    bin.training > 0 && s("path", { class: "training", d: `M${NAME} ${i * ROW + 3}H${round(NAME + length(bin.training))}V${i * ROW + ROW - 2}H${NAME}` }),
    s("text", { x: WIDTH - 1, y: i * ROW + 13, class: "to most" }, share(bin.now)),
  ].filter(Boolean)))
}

const round = value => Math.round(value * 10) / 10
const bar = (x, y, width, height) => s("rect", { class: "now", x: round(x), y: round(y), width: Math.max(0.5, round(width)), height: Math.max(0.5, round(height)) })

function picture(one, bins, height, parts) {
  return s("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": words(one, bins) }, ...parts)
}

function tabulate(details, bins) {
  const make = () => {
    const heads = ["", "window", "training"].map(word => h(word ? "th" : "td", word ? { scope: "col" } : {}, word))
    const row = bin => h("tr", {}, h("th", { scope: "row" }, bin.name), h("td", {}, share(bin.now)), h("td", {}, share(bin.training)))
    details.replaceChildren(details.firstChild, h("table", {}, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, bins.map(row))))
  }
  details.ontoggle = () => details.open && make()
  if (details.open) make()
}
