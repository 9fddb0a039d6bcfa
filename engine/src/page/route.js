// Where nodes and edges of the graph lie. The server says column and row; this makes coordinates of them, from left to
// right or from top to bottom, and leads edges that skip columns between the nodes of those columns.

/** Returns `{ width, height, at(id), path(edge), middle(edge) }`. */
export function route({ nodes, edges }, size, down) {
  const along = down ? size.height + size.along : size.width + size.along
  const across = down ? size.width + size.across : size.height + size.across
  const columns = new Map()
  for (const node of nodes) columns.set(node.column, [...(columns.get(node.column) ?? []), node].sort((a, b) => a.row - b.row))
  const rows = Math.max(1, ...[...columns.values()].map(column => column.length))
  const lane = node => columns.get(node.column).indexOf(node) + (rows - columns.get(node.column).length) / 2
  const byId = new Map(nodes.map(node => [node.id, { column: node.column, lane: lane(node) }]))
  const length = 1 + Math.max(0, ...nodes.map(node => node.column))

  const point = (column, lane) => (down ? { x: lane * across, y: column * along } : { x: column * along, y: lane * across })
  const start = place => shift(point(place.column, place.lane), size, down ? [0.5, 1] : [1, 0.5])
  const end = place => shift(point(place.column, place.lane), size, down ? [0.5, 0] : [0, 0.5])

  /** The gap between two nodes of a column that bends an edge least: near the lane it comes from, and on its way. */
  const gap = (column, before, straight, to) => {
    const taken = (columns.get(column) ?? []).map(node => byId.get(node.id).lane)
    const bend = one => Math.abs(one - before) + Math.abs(one - straight) + Math.abs(one - to) / 10
    const gaps = taken.flatMap(one => [one - 0.5, one + 0.5])
    return gaps.length ? gaps.reduce((best, one) => (bend(one) < bend(best) ? one : best)) : straight
  }

  const via = edge => {
    const [from, to] = [byId.get(edge.from), byId.get(edge.to)]
    const points = [start(from)]
    let { lane } = from
    for (let column = from.column + 1; column < to.column; column += 1) {
      const straight = from.lane + ((to.lane - from.lane) * (column - from.column)) / (to.column - from.column)
      lane = gap(column, lane, straight, to.lane)
      points.push(end({ column, lane }), start({ column, lane }))
    }
    return [...points, end(to)]
  }

  const widest = down ? rows * across - size.across : length * along - size.along
  const tallest = down ? length * along - size.along : rows * across - size.across
  return {
    width: widest, height: tallest,
    at: id => point(byId.get(id).column, byId.get(id).lane),
    path: edge => curve(via(edge), down),
    middle: edge => {
      const [a, b] = via(edge).slice(-2)
      return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 }
    },
  }
}

const shift = (point, size, [x, y]) => ({ x: point.x + x * size.width, y: point.y + y * size.height })

/** A line through points that leaves and enters each of them along the graph's direction. */
function curve(points, down) {
  let path = `M${points[0].x} ${points[0].y}`
  for (let i = 1; i < points.length; i += 1) {
    const [a, b] = [points[i - 1], points[i]]
    const [x, y] = [(a.x + b.x) / 2, (a.y + b.y) / 2]
    path += down ? `C${a.x} ${y} ${b.x} ${y} ${b.x} ${b.y}` : `C${x} ${a.y} ${x} ${b.y} ${b.x} ${b.y}`
  }
  return path
}
