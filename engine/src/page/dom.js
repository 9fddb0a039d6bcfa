// Elements, made and changed in place. Names come from programs: they are set as text, never as markup.

/** Creates an HTML element. Children are nodes or texts; `on…` attributes are listeners, `true` is an empty attribute. */
export function h(tag, attributes = {}, ...children) {
  return build(document.createElement(tag), attributes, children)
}

/** Creates an SVG element. */
export function s(tag, attributes = {}, ...children) {
  return build(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children)
}

function build(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value)
    else attribute(node, name, value)
  }
  node.append(...children.flat().filter(child => child != null))
  return node
}

/** Sets an attribute if it differs; `null` and `false` remove it. */
export function attribute(node, name, value) {
  if (value == null || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name)
    return
  }
  const wanted = value === true ? "" : String(value)
  if (node.getAttribute(name) !== wanted) node.setAttribute(name, wanted)
}

/** Sets the text of an element that holds nothing else. An equal text is left alone, so that a selection survives. */
export function text(node, value) {
  const wanted = String(value)
  if (node.textContent === wanted) return
  if (node.childNodes.length === 1 && node.firstChild.nodeType === Node.TEXT_NODE) node.firstChild.data = wanted
  else node.textContent = wanted
}

/** Sets a text in which names stand between backticks: they become code, the rest stays text. */
export function marked(node, value) {
  if (node.dataset.text === value) return
  node.dataset.text = value
  node.replaceChildren(...value.split("`").map((part, i) => (i % 2 ? h("code", {}, part) : part)))
}

const kept = new WeakMap()

/**
 * Makes the children of `parent` those of `items`, in their order. A child belongs to its key for as long as the key is
 * there: it is created once and then only updated, so focus and selection survive.
 */
export function list(parent, items, keyOf, create, update) {
  const before = kept.get(parent) ?? new Map()
  const after = new Map()
  for (const item of items) {
    const key = keyOf(item)
    if (after.has(key)) continue
    const node = before.get(key) ?? create(item)
    update?.(node, item)
    after.set(key, node)
  }
  for (const [key, node] of before) if (!after.has(key)) node.remove()
  let place = parent.firstChild
  for (const node of after.values()) {
    if (node === place) place = place.nextSibling
    else parent.insertBefore(node, place)
  }
  kept.set(parent, after)
}

/** Updates pairs of a name and a value in a `<dl>`. */
export function pairs(dl, entries) {
  const create = ([name]) => h("div", {}, h("dt", {}, name), h("dd"))
  list(dl, entries, ([name]) => name, create, (node, [, value]) => text(node.lastChild, value))
}

/** Shows an element, or hides it from everybody. */
export function shown(node, is) {
  if (node.hidden === is) node.hidden = !is
}

export const byId = id => document.getElementById(id)
