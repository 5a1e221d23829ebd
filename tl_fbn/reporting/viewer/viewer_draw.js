// Unpacks what viewer_data.py packed and draws the two pictures, the map and the course. Knows nothing of keys or lists.
// Cost: one look at every visible unit or row a picture; nothing in the document is made for a unit.

const $ = id => document.getElementById(id);
const RDBU = ["053061", "2166ac", "4393c3", "92c5de", "d1e5f0", "f7f7f7", "fddbc7", "f4a582", "d6604d", "b2182b", "67001f"]
  .map(hex => [0, 2, 4].map(at => parseInt(hex.slice(at, at + 2), 16)));
const PALETTE = Array.from({ length: 255 }, (_, i) => {  // blue is negative, white 0, red positive
  const at = i / 25.4, k = Math.min(9, Math.floor(at));
  return RDBU[k].map((low, channel) => Math.round(low + (at - k) * (RDBU[k + 1][channel] - low)));
});
const colourOf = x => PALETTE[127 + Math.round(127 * Math.max(-1, Math.min(1, x)))];
const packedColour = ([r, g, b]) => (255 << 24 | b << 16 | g << 8 | r) >>> 0;
const NOTHING = packedColour([226, 226, 226]), BELOW = packedColour([250, 250, 250]), INK = "#1a1a1a";
const CONDITIONS = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#000000"];
const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';

// Unpacking

function bytes(text) {
  const raw = atob(text), out = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
  return out;
}
function integers({ bits, data }, signed) {
  const { buffer } = bytes(data);
  if (signed) return bits === 8 ? new Int8Array(buffer) : new Int16Array(buffer);
  return bits === 8 ? new Uint8Array(buffer) : bits === 16 ? new Uint16Array(buffer) : new Uint32Array(buffer);
}
function indices(text) {
  const steps = bytes(text), out = [];
  let at = 0;
  for (let i = 0; i < steps.length; i++) { at += steps[i]; if (steps[i] < 255) out.push(at); }
  return out;
}
function numbers(pack) {
  const whole = integers(pack, true), missing = pack.bits === 8 ? -128 : -32768;
  return Float32Array.from(whole, q => q === missing ? NaN : pack.offset + pack.scale * q);
}
function unpackMap(map, nUnits) {
  let q = integers(map, true);
  if (map.kept !== null) {
    const kept = indices(map.kept), all = new q.constructor(nUnits);
    for (let i = 0; i < kept.length; i++) all[kept[i]] = q[i];
    q = all;
  }
  return counted({ ...map, q, top: map.bits === 8 ? 127 : 32767 });
}
function counted(map) {  // reach[s]: units whose |q| is at least s
  const reach = new Uint32Array(map.top + 2);
  for (let i = 0; i < map.q.length; i++) if (map.q[i] >= -map.top) reach[Math.abs(map.q[i])]++;
  for (let s = map.top - 1; s >= 0; s--) reach[s] += reach[s + 1];
  return { ...map, reach };
}
const levelOf = (map, t) => Math.min(map.top + 1, Math.max(0, Math.ceil(t / map.scale - 1e-6)));

// Small help

function number(x) {
  if (!Number.isFinite(x)) return "no value";
  const size = Math.abs(x);
  return size !== 0 && (size < 1e-3 || size >= 1e5) ? x.toExponential(2) : String(+x.toPrecision(4));
}
function lowerBound(sorted, value) {
  let low = 0, high = sorted.length;
  while (low < high) { const mid = low + high >> 1; if (sorted[mid] < value) low = mid + 1; else high = mid; }
  return low;
}
function ticks(low, high, most) {
  const rough = (high - low) / Math.max(1, most), power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find(x => x * power >= rough) * power, out = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-9; at += step) out.push(Math.abs(at) < step / 1e6 ? 0 : at);
  return out;
}
function prepare(canvas) {
  const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = FONT;
  return { context, width, height, ratio };
}

// The map. view = {from, to} in units; layer 0 at the bottom.

function mapBox(canvas, nLayers) {
  const box = { left: 34, top: 4, width: canvas.clientWidth - 38, height: canvas.clientHeight - 24 };
  return { ...box, step: box.height / nLayers };
}
function strongest(map, first, stop) {  // the unit of largest magnitude; the first where none has a value
  let winner = first, best = -1;
  for (let i = first; i < stop; i++) {
    const q = map.q[i], size = q < 0 ? -q : q;
    if (size > best && size <= map.top) { best = size; winner = i; }
  }
  return winner;
}
function binOf(view, box, x) {  // the units under the pixel column at x, within a layer
  const per = (view.to - view.from) / box.width, first = Math.floor(view.from + x * per);
  return [first, Math.max(first + 1, Math.floor(view.from + (x + 1) * per))];
}
function coloursOf(map, level) {
  const table = new Uint32Array(2 * map.top + 2);
  for (let q = -map.top; q <= map.top; q++) {
    table[q + map.top + 1] = Math.abs(q) < level ? BELOW : packedColour(colourOf(q * map.scale / map.limit));
  }
  table[0] = NOTHING;
  return table;
}
function drawMap(canvas, space, map, level, view, members) {
  const { context, ratio } = prepare(canvas), L = space.widths.length, box = mapBox(canvas, L);
  const columns = Math.max(1, Math.round(box.width * ratio)), per = (view.to - view.from) / columns;
  const image = new ImageData(columns, L), pixels = new Uint32Array(image.data.buffer), table = coloursOf(map, level);
  const zero = map.top + 1, q = map.q;
  for (let layer = 0; layer < L; layer++) {
    const start = space.offsets[layer], width = space.widths[layer], line = (L - 1 - layer) * columns;
    for (let c = 0; c < columns; c++) {
      const first = Math.floor(view.from + c * per);
      if (first >= width) { pixels[line + c] = NOTHING; continue; }
      const stop = Math.min(width, Math.max(first + 1, Math.floor(view.from + (c + 1) * per)));
      const shown = stop - first > 1 ? strongest(map, start + first, start + stop) : start + first;
      pixels[line + c] = table[q[shown] + zero];
    }
  }
  const raster = Object.assign(document.createElement("canvas"), { width: columns, height: L });
  raster.getContext("2d").putImageData(image, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(raster, box.left, box.top, box.width, box.height);
  if (members) drawMembers(context, space, map, level, view, box, members);
  if (box.step >= 5) {
    context.fillStyle = "#fff";
    for (let layer = 1; layer < L; layer++) context.fillRect(box.left, box.top + layer * box.step - 0.5, box.width, 1);
  }
  context.fillStyle = "#555";
  context.textAlign = "right";
  context.textBaseline = "middle";
  const every = Math.ceil(14 / box.step);
  for (let layer = 0; layer < L; layer += every) {
    context.fillText(layer, box.left - 7, box.top + (L - layer - 0.5) * box.step);
  }
  context.textBaseline = "top";
  context.textAlign = "center";
  for (const unit of ticks(view.from, view.to - 1, box.width / 90)) {
    if (unit % 1) continue;
    const x = box.left + (unit + 0.5 - view.from) / (view.to - view.from) * box.width;
    context.fillText(unit, Math.min(x, box.left + box.width - 14), box.top + box.height + 6);
  }
}
function drawMembers(context, space, map, level, view, box, members) {
  const cell = box.width / (view.to - view.from), wide = cell >= 6 && box.step >= 6;
  const strip = Math.max(1, Math.min(3, box.step / 5));
  context.save();
  context.beginPath();
  context.rect(box.left, box.top, box.width, box.height);
  context.clip();
  context.fillStyle = "#000";
  context.lineWidth = 1.5;
  for (let layer = 0; layer < space.widths.length; layer++) {
    const start = space.offsets[layer], top = box.top + (space.widths.length - 1 - layer) * box.step;
    const stop = start + Math.min(space.widths[layer], Math.ceil(view.to));
    let column = -1;
    for (let i = lowerBound(members, start + Math.floor(view.from)); i < members.length && members[i] < stop; i++) {
      const x = (members[i] - start - view.from) * cell;
      const q = map.q[members[i]], survives = Math.abs(q) >= level || q < -map.top;
      if (wide) { context.strokeStyle = survives ? "#000" : "#c4c4c4"; context.strokeRect(box.left + x + 1, top + 1.25, cell - 2, box.step - 2.5); continue; }
      if (!survives || Math.floor(x) === column) continue;
      column = Math.floor(x);
      context.fillRect(box.left + Math.max(0, x), top + box.step - strip - 0.5, Math.max(1, cell), strip);
    }
  }
  context.restore();
}
function drawCell(canvas, space, view, cell, focused) {
  const { context } = prepare(canvas), L = space.widths.length, box = mapBox(canvas, L);
  const wide = box.width / (view.to - view.from), x = box.left + (cell.unit - view.from) * wide;
  if (x + wide < box.left || x > box.left + box.width) return;
  const y = box.top + (L - 1 - cell.layer) * box.step, w = Math.max(7, wide), h = Math.max(7, box.step);
  const at = [x + wide / 2 - w / 2, y + box.step / 2 - h / 2, w, h];
  context.lineWidth = focused ? 5 : 4;
  context.strokeStyle = "#fff";
  context.strokeRect(...at);
  context.lineWidth = focused ? 3 : 2;
  context.strokeStyle = "#009E73";  // green is in neither half of the scale
  context.strokeRect(...at);
}

// The course. view = {from, to} in rows.

const courseBox = canvas => ({ left: 54, top: 18, width: canvas.clientWidth - 58, height: canvas.clientHeight - 38 });
function rangeOf(course, whole) {
  let { low, high } = course;
  if (!whole) {
    low = Math.max(low, course.middle - 1.8 * course.far);
    high = Math.min(high, course.middle + 1.8 * course.far);
  }
  if (!(high > low)) { low -= 0.5; high += 0.5; }
  const air = 0.06 * (high - low);
  return [low - air, high + air];
}
function drawCourse(canvas, text, course, view, whole) {
  const { context, ratio } = prepare(canvas), box = courseBox(canvas), per = (view.to - view.from) / box.width;
  const xOf = row => box.left + (row - view.from) / per, edge = x => Math.max(box.left, Math.min(box.left + box.width, x));
  context.textBaseline = "top";
  context.textAlign = "left";
  for (const [first, stop, condition] of text.blocks) {
    if (stop <= view.from || first >= view.to) continue;
    const x = edge(xOf(first)), w = edge(xOf(stop)) - x;
    context.globalAlpha = 0.15;
    context.fillStyle = text.colours[condition];
    context.fillRect(x, box.top, w, box.height);
    context.globalAlpha = 1;
    context.fillRect(x, box.top - 3, Math.max(0.5, w - 1), 3);
    const name = text.conditions[condition];
    if (name.length < 40 && context.measureText(name).width + 4 < w) { context.fillStyle = "#444"; context.fillText(name, x, 1); }
  }
  if (1 / per >= 4) {  // where contexts begin
    context.fillStyle = "#9a9a9a";
    for (let i = lowerBound(text.contexts, Math.floor(view.from)); i < text.contexts.length && text.contexts[i] < view.to; i++) {
      context.fillRect(edge(xOf(text.contexts[i])), box.top, 1, box.height);
    }
  }
  context.fillStyle = INK;
  for (const [row] of text.runs.slice(1)) {
    if (row > view.from && row < view.to) context.fillRect(xOf(row) - 0.5, box.top - 3, 1.5, box.height + 7);
  }
  context.fillStyle = "#555";
  context.textAlign = "center";
  for (const row of ticks(view.from, view.to - 1, box.width / 90)) {
    if (row % 1 === 0) context.fillText(row, Math.min(xOf(row + 0.5), box.left + box.width - 16), box.top + box.height + 6);
  }
  if (!course) return;
  const [low, high] = rangeOf(course, whole), scale = box.height / (high - low);
  const yOf = value => box.top + (high - value) * scale;
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const tick of ticks(low, high, 4)) {
    context.fillStyle = "#555";
    context.fillText(number(tick), box.left - 6, yOf(tick));
    context.fillStyle = "rgba(0,0,0,.09)";
    context.fillRect(box.left, yOf(tick), box.width, 1);
  }
  context.save();
  context.beginPath();
  context.rect(box.left, box.top, box.width, box.height);
  context.clip();
  context.strokeStyle = per * ratio > 2 ? "rgba(60,60,60,.6)" : "#444";
  context.lineWidth = 1;
  context.beginPath();
  const first = Math.max(0, Math.floor(view.from) - 1), stop = Math.min(text.rows, Math.ceil(view.to) + 1);
  if (per * ratio > 1) {  // more rows than pixels: from the lowest to the highest of each pixel
    for (let c = 0; c < box.width; c += 1 / ratio) {
      const a = Math.floor(view.from + c * per), b = Math.min(stop, Math.max(a + 1, Math.floor(view.from + (c + 1 / ratio) * per)));
      let min = Infinity, max = -Infinity;
      for (let row = a; row < b; row++) { const v = course.values[row]; if (v < min) min = v; if (v > max) max = v; }
      if (min > max) continue;
      context.lineTo(box.left + c, yOf(min));
      context.lineTo(box.left + c, yOf(max) - 0.5);
    }
  } else {
    for (let row = first; row < stop; row++) context.lineTo(xOf(row + 0.5), yOf(course.values[row]));
  }
  context.stroke();
  if (1 / per >= 7) {
    context.fillStyle = "#333";
    for (let row = first; row < stop; row++) {
      context.beginPath();
      context.arc(xOf(row + 0.5), yOf(course.values[row]), 2.2, 0, 7);
      context.fill();
    }
  }
  context.lineWidth = 2.5;
  text.blocks.forEach(([from, to, condition], i) => {  // the mean of each block
    if (to <= view.from || from >= view.to) return;
    const y = yOf(course.means[i]), x = [xOf(from), xOf(to) - 1];
    for (const [colour, wide] of [["#fff", 5], [text.colours[condition], 2.5]]) {
      context.strokeStyle = colour;
      context.lineWidth = wide;
      context.beginPath();
      context.moveTo(x[0], y);
      context.lineTo(x[1], y);
      context.stroke();
    }
  });
  context.restore();
}
function drawRow(canvas, view, row, hovered, focused) {
  const { context } = prepare(canvas), box = courseBox(canvas), per = (view.to - view.from) / box.width;
  for (const [at, colour, least] of [[hovered, "rgba(0,0,0,.25)", 1], [row, focused ? "#009E73" : "#00835f", 2]]) {
    if (at === null || at < view.from - 1 || at >= view.to) continue;
    const wide = Math.max(least, Math.min(1 / per, 6)), x = box.left + (at + 0.5 - view.from) / per - wide / 2;
    context.fillStyle = colour;
    context.globalAlpha = wide > 3 ? 0.7 : 1;
    context.fillRect(x, box.top - 3, wide, box.height + 6);
    context.globalAlpha = 1;
  }
}
