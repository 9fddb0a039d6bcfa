const byId = id => document.getElementById(id), number = n => n.toLocaleString("en"), ms = us => (us / 1000).toFixed(2) + " ms"
let last = null
// Names come from programs: they are shown as text, never as markup.
const cell = (row, text, bad) => { const td = row.insertCell(); td.textContent = text; if (bad) td.className = "bad" }
function card(name, value) {
  const div = document.createElement("div"), b = document.createElement("b"), span = document.createElement("span")
  b.textContent = value; span.textContent = name; div.append(b, span); byId("cards").append(div)
}
function show(s) {
  byId("job").textContent = s.job; byId("state").textContent = s.state
  byId("line").textContent = `${s.workers} workers · up ${(s.elapsed_ms / 1000).toFixed(0)} s` + (s.restored_epoch ? ` · restored from epoch ${s.restored_epoch}` : "")
  const rate = (op, name) => {
    const before = last && last.operators.find(o => o.name === op.name)
    return before ? Math.round((op.counters[name] - before.counters[name]) / (s.now_ms - last.now_ms) * 1000) : 0
  }
  const read = s.operators.filter(o => o.kind === "source").reduce((sum, o) => sum + rate(o, "records_out"), 0)
  const out = s.operators.filter(o => o.kind === "sink" && o.distributions.latency_us.count).pop()
  byId("cards").replaceChildren()
  card("records read / s", number(read)); card("records under way", number(s.in_flight)); card("waiting for the watermark", number(s.pending))
  card("keyed state", `${(s.state_bytes / 1048576).toFixed(1)} MiB`)
  card("epoch running", s.epoch); card("epoch committed", s.committed_epoch ?? "–")
  card("checkpoint p50 / p99", `${ms(s.checkpoint_us.p50)} / ${ms(s.checkpoint_us.p99)}`)
  if (out) card(`latency to "${out.name}" p50 / p99`, `${ms(out.distributions.latency_us.p50)} / ${ms(out.distributions.latency_us.p99)}`)
  const body = byId("operators"); body.replaceChildren()
  for (const op of s.operators) {
    const row = body.insertRow(), c = op.counters
    cell(row, op.name); cell(row, number(c.records_in)); cell(row, number(c.records_out)); cell(row, number(rate(op, "records_in")))
    cell(row, (rate(op, "busy_ns") / 1e7 / op.workers).toFixed(1) + " %")
    cell(row, number(c.late ?? 0), c.late > 0); cell(row, number(c.dead_letters), c.dead_letters > 0)
    const w = op.watermark_ms
    cell(row, w == null ? "–" : Math.abs(w) > 8.64e15 ? "end" : new Date(w).toISOString().replace("T", " ").slice(0, 19))
    const own = Object.entries(c).filter(([n]) => !["records_in", "records_out", "late", "dead_letters", "busy_ns"].includes(n)).map(([n, v]) => `${n} ${number(v)}`)
    const spread = Object.entries(op.distributions).filter(([, d]) => d.count).map(([n, d]) => `${n} p50 ${number(d.p50)} p99 ${number(d.p99)}`)
    cell(row, [...own, ...spread].join(" · "))
  }
  last = s
}
async function look() {
  try { show(await (await fetch("/status")).json()) } catch { byId("state").textContent = "not reachable: ended, or being restarted" }
  setTimeout(look, 1000)
}
look()
