// What is selected lives in the URL's hash, so that a link shows a colleague the same: `#op=score&tail=dead-letters`.

const listeners = new Set()
let values = read()

function read() {
  return new Map(new URLSearchParams(location.hash.slice(1)))
}

function write() {
  const rest = new URLSearchParams([...values].filter(([, value]) => value !== "")).toString()
  history.replaceState(null, "", rest ? "#" + rest : location.pathname + location.search)
}

/** Returns what is selected under a name, or `otherwise`. */
export const get = (name, otherwise = "") => values.get(name) ?? otherwise

/** Selects something, or nothing (`""`), and tells whoever listens. */
export function set(name, value) {
  if (get(name) === value) return
  values.set(name, value)
  write()
  listeners.forEach(listener => listener(name))
}

/** Calls `listener(name)` after each change, also when the reader edits the address. */
export const onChange = listener => listeners.add(listener)

/** Takes a value out of the address for good: a token is for nobody else's eyes. */
export function take(name) {
  const value = get(name)
  if (values.delete(name)) write()
  return value
}

addEventListener("hashchange", () => {
  const before = values
  values = read()
  const names = new Set([...before.keys(), ...values.keys()])
  names.forEach(name => before.get(name) !== values.get(name) && listeners.forEach(listener => listener(name)))
})
