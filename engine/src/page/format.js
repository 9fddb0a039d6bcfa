// Numbers, durations, sizes and times as people read them. What is not there, or not a number, is a dash.

const NONE = "–"
const is = value => typeof value === "number" && Number.isFinite(value)

/** A whole number with separators: 30,012. */
export const count = value => (is(value) ? Math.round(value).toLocaleString("en") : NONE)

/** A rate: two digits below ten, none above, and letters where a number would be too long to compare. */
export function rate(value) {
  if (!is(value)) return NONE
  if (Math.abs(value) >= 1e7) return `${(value / 1e6).toLocaleString("en", { maximumFractionDigits: 1 })} M`
  if (value !== 0 && Math.abs(value) < 10) return value.toFixed(value < 1 ? 2 : 1)
  return count(value)
}

/** A count in few characters: 812, 30.0 k, 4.1 M. */
export function short(value) {
  if (!is(value)) return NONE
  for (const [size, letter] of [[1e9, "G"], [1e6, "M"], [1e4, "k"]]) {
    if (Math.abs(value) >= size) return `${(value / (letter === "k" ? 1e3 : size)).toFixed(1)} ${letter}`
  }
  return Number.isInteger(value) ? count(value) : rate(value)
}

/** A duration in seconds, in the unit in which it has one to three digits. */
export function seconds(value) {
  if (!is(value)) return NONE
  const sign = value < 0 ? "−" : ""
  const size = Math.abs(value)
  if (size === 0) return "0 s"
  if (size < 1e-3) return `${sign}${(size * 1e6).toFixed(0)} µs`
  if (size < 0.0995) return `${sign}${(size * 1e3).toFixed(size < 0.01 ? 1 : 0)} ms`
  if (size < 10) return `${sign}${size.toFixed(1)} s`
  if (size < 120) return `${sign}${size.toFixed(0)} s`
  return sign + long(size)
}

/** A long duration in its two largest units: 3 h 12 min. */
function long(size) {
  const units = [[31_557_600, "y"], [86_400, "d"], [3600, "h"], [60, "min"], [1, "s"]]
  const first = units.findIndex(([unit]) => size >= unit)
  const [unit, name] = units[first]
  const next = units[first + 1]
  const rest = next ? Math.floor((size % unit) / next[0]) : 0
  return `${Math.floor(size / unit)} ${name}${rest ? ` ${rest} ${next[1]}` : ""}`
}

/** A size in bytes. */
export function bytes(value) {
  if (!is(value)) return NONE
  const units = ["B", "KiB", "MiB", "GiB", "TiB"]
  let unit = 0
  while (Math.abs(value) >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit += 1
  }
  return `${unit && Math.abs(value) < 100 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`
}

/** A share of one: 97 %. What was not measured is "n/a", not NaN. */
export const percent = value => (is(value) ? `${Math.round(value * 100)} %` : "n/a")

const LARGEST_DATE = 8.64e15

/** The time of day, in the reader's time zone. */
export function clock(ms) {
  if (!is(ms) || Math.abs(ms) > LARGEST_DATE) return NONE
  return new Date(ms).toLocaleTimeString("en-GB")
}

/** Date and time in UTC, as logs have it. Watermarks at the ends of time are words. */
export function instant(ms) {
  if (!is(ms)) return NONE
  if (Math.abs(ms) > LARGEST_DATE) return ms > 0 ? "end of input" : "none yet"
  return new Date(ms).toISOString().replace("T", " ").slice(0, 19) + " UTC"
}

/** How long ago something was: "12 s ago". */
export const ago = (ms, now) => (is(ms) && is(now) ? `${seconds(Math.max(0, Math.round((now - ms) / 100) / 10))} ago` : NONE)

/** Names the process where something was, in a job that has several. */
export const place = ({ process }) => (process == null ? "" : `process ${process}`)

/** One thing, or several of it. */
export const plural = (n, one, many = one + "s") => `${count(n)} ${n === 1 ? one : many}`

const UNITS = [
  ["_us", value => seconds(value / 1e6)], ["_ms", value => seconds(value / 1e3)], ["_ns", value => seconds(value / 1e9)],
  ["_seconds", seconds], ["_bytes", bytes], ["_records", count],
]

/** A number of which only the name tells the unit: its name in words, and the number in that unit. */
export function named(name, value) {
  const [suffix, as] = UNITS.find(([end]) => name.endsWith(end)) ?? ["", count]
  const words = name.slice(0, name.length - suffix.length).replaceAll("_", " ")
  return [words, typeof value === "number" ? as(value) : value == null ? NONE : String(value)]
}
