// The viewer: what is picked, what every key does, and the text. Words of the data reach the page as text only (textContent).

const DATA = JSON.parse($("data").textContent);
const space = { ...DATA.space, offsets: [0], n: 0, widest: Math.max(...DATA.space.widths) };
for (const width of space.widths) space.offsets.push(space.n += width);
const text = {
  ...DATA.text,
  colours: DATA.text.conditions.map((name, i) => name === "rest" ? "#8a8a8a" : CONDITIONS[i % CONDITIONS.length]),
  ids: DATA.text.token && integers(DATA.text.token),
  flag: DATA.text.flags && integers(DATA.text.flags),
  place: DATA.text.position && integers(DATA.text.position),
  nats: DATA.text.surprisal && numbers(DATA.text.surprisal),
};
const spaced = text.token && text.token.words.some(word => /^[\u0120\u2581]/.test(word));  // tokens bring their own spaces
const networks = DATA.networks.map(network => {  // members ascending, signs alongside
  const coded = network.members.flatMap((part, k) => indices(part).map(unit => 4 * unit + k)), sorted = Float64Array.from(coded).sort();
  return { ...network, members: Uint32Array.from(sorted, x => Math.floor(x / 4)), signs: Int8Array.from(sorted, x => [0, 1, -1][x % 4]) };
});
const courses = new Map(DATA.units.map(unit => [unit.index, unit.course])), ready = new Map(), maps = new Map();
const S = {
  network: networks.length ? 0 : -1, unit: -1, own: true, map: 0, t: 0, row: 0, hovered: null, outlines: true, whole: false,
  cell: { layer: 0, unit: 0 }, mapView: { from: 0, to: space.widest }, rowView: { from: 0, to: text.rows },
};
S.own = networks.some(network => network.map !== null) || !DATA.maps.length;

// What is picked

function ownMap(k) {
  if (networks[k].map !== null) return mapAt(networks[k].map);
  const q = new Int8Array(space.n);
  networks[k].members.forEach((unit, i) => { q[unit] = networks[k].signs[i] || 1; });
  const about = { name: networks[k].name, kind: "membership", cut: 0, kept: null, scale: 1, limit: 1.5, largest: 1, top: 127 };
  return counted({ ...about, q });
}
function mapAt(i) {
  if (!maps.has(i)) maps.set(i, unpackMap(DATA.maps[i], space.n));
  return maps.get(i);
}
function currentMap() {
  if (!S.own) return mapAt(S.map);
  const key = `own ${S.network}`;
  if (!maps.has(key)) maps.set(key, ownMap(S.network));
  return maps.get(key);
}
function unpackCourse(pack) {
  const values = numbers(pack), top = pack.bits === 8 ? 127 : 32767;
  let low = Infinity, high = -Infinity;
  for (const value of values) { if (value < low) low = value; if (value > high) high = value; }
  const means = text.blocks.map(([from, to]) => {
    let sum = 0;
    for (let row = from; row < to; row++) sum += values[row];
    return sum / (to - from);
  });
  return { values, low, high, means, middle: pack.middle, far: pack.far, top };
}
function currentCourse() {
  const key = S.unit >= 0 ? S.unit : `network ${S.network}`;
  const pack = S.unit >= 0 ? courses.get(S.unit) : S.network >= 0 ? networks[S.network].course : null;
  if (!pack) return null;
  if (!ready.has(key)) ready.set(key, unpackCourse(pack));
  return ready.get(key);
}
const flat = cell => space.offsets[cell.layer] + cell.unit;
function locate(unit) {
  let layer = 0;
  while (space.offsets[layer + 1] <= unit) layer++;
  return { layer, unit: unit - space.offsets[layer] };
}
const holders = unit => networks.filter(({ members }) => members[lowerBound(members, unit)] === unit);
const named = unit => { const at = locate(unit); return `layer ${at.layer} unit ${at.unit}`; };
function valueOf(map, unit) {
  const q = map.q[unit];
  if (q < -map.top) return "no value";
  if (map.kind === "membership") return q ? q > 0 ? "in" : "in, negative" : "not in";
  if (q === 0 && map.cut > 0) return `below ${number(map.cut)}, not kept`;
  return number(q * map.scale);
}

// Drawing: what changed is drawn once, in the next frame

const stale = new Set();
function redraw(...parts) {
  if (!stale.size) requestAnimationFrame(() => {
    const now = new Set(stale);
    stale.clear();
    for (const part of ["map", "cell", "course", "row"]) if (now.has(part)) DRAW[part]();
  });
  for (const part of parts) stale.add(part);
}
const DRAW = {
  map() {
    const map = currentMap(), members = S.outlines && S.network >= 0 ? networks[S.network].members : null;
    drawMap($("map"), space, map, levelOf(map, S.t), S.mapView, members);
  },
  cell: () => drawCell($("map-over"), space, S.mapView, S.cell, document.activeElement === $("map-over")),
  course: () => drawCourse($("course"), text, currentCourse(), S.rowView, S.whole),
  row: () => drawRow($("course-over"), S.rowView, S.row, S.hovered, document.activeElement === $("course-over")),
};
function element(tag, properties = {}, ...inside) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...inside);
  return made;
}

// Networks

function fillList() {
  networks.forEach((network, k) => {
    const bar = element("span", { className: "bar" }, element("i"), element("b"));
    const item = element("li", { id: `net-${k}`, title: network.name },
      element("span", { className: "key", textContent: k < 9 ? k + 1 : "" }),
      element("span", { className: "name", textContent: network.name }),
      element("span", { className: "size", textContent: network.units.toLocaleString("en") }),
      bar, element("span", { className: "dice" }));
    item.setAttribute("role", "option");
    item.addEventListener("click", () => pickNetwork(k));
    $("list").append(item);
  });
  $("networks").hidden = !networks.length;
}
function pickNetwork(k) {
  if (k < 0 || k >= networks.length) return;
  S.network = k;
  S.unit = -1;
  const largest = Math.max(0.05, ...DATA.dice[k].filter((x, j) => j !== k && x !== null), ...DATA.chance[k].filter((x, j) => j !== k));
  [...$("list").children].forEach((item, j) => {
    const dice = DATA.dice[k][j], chance = DATA.chance[k][j], shown = j !== k && dice !== null;
    item.setAttribute("aria-selected", j === k);
    item.querySelector(".bar").style.visibility = shown ? "visible" : "hidden";
    item.querySelector("i").style.width = `${shown ? 100 * dice / largest : 0}%`;
    item.querySelector("b").style.left = `${shown ? 100 * chance / largest : 0}%`;
    item.querySelector(".dice").textContent = j === k ? "picked" : shown ? `${dice.toFixed(2)} (${chance.toFixed(2)})` : "";
  });
  $("list").setAttribute("aria-activedescendant", `net-${k}`);
  const item = $(`net-${k}`), list = $("list");
  if (item.offsetTop < list.scrollTop) list.scrollTop = item.offsetTop;
  else if (item.offsetTop + item.offsetHeight > list.scrollTop + list.clientHeight) list.scrollTop = item.offsetTop + item.offsetHeight - list.clientHeight;
  if (S.own) mapChanged();
  else showLevel();
  picked();
}
function pickUnit(unit) {
  S.unit = unit;
  S.cell = locate(unit);
  const { mapView: view, cell } = S;
  if (cell.unit < view.from || cell.unit >= view.to) moveView(view, cell.unit - (view.to - view.from) / 2, space.widest);
  showCell();
  picked();
}
function picked() {
  const course = currentCourse(), unit = S.unit >= 0, at = unit && locate(S.unit);
  $("course-name").textContent = unit ? named(S.unit) : S.network >= 0 ? networks[S.network].name : "nothing picked";
  $("course-what").textContent = !course ? "" : unit ? `activation${promotes(S.unit)}` : "mean activation of its units";
  const missing = unit ? `The course of ${named(S.unit)} is not kept in this page. To keep it, save the page again with units=[(${at.layer}, ${at.unit})].`
    : S.network >= 0 ? "This network has no units, so it has no course." : "Pick a unit: click the map, press u, or type its layer and number.";
  $("course-note").textContent = course ? "" : missing;
  $("kept").value = unit && courses.has(S.unit) ? S.unit : "";
  redraw("map", "cell", "course", "row");
  showText(true);
  showRow();
}

// The map

function mapChanged() {
  const map = currentMap();
  if (map.kind !== S.kind) S.t = 0;
  S.kind = map.kind;
  $("low").textContent = number(-map.limit);
  $("high").textContent = `${number(map.limit)} ${map.kind}`;
  $("scale").hidden = map.kind === "membership";
  $("map-choice").value = S.own ? "own" : S.map;
  threshold(S.t);
  const units = [...courses.keys()].sort((a, b) => Math.abs(map.q[b]) - Math.abs(map.q[a]) || a - b);
  S.ranked = units;
  $("kept").replaceChildren(element("option", { value: "", textContent: `${units.length} units with a course` }),
    ...units.map(unit => element("option", { value: unit, textContent: `${named(unit)}: ${valueOf(map, unit)}` })));
  $("kept").value = courses.has(S.unit) ? S.unit : "";
}
function threshold(t, fromSlider) {
  const map = currentMap();
  S.t = Math.max(map.cut, Math.min(map.largest, Number.isFinite(t) ? t : 0));
  if (!fromSlider) $("slider").value = map.largest > map.cut ? 1000 * Math.sqrt((S.t - map.cut) / (map.largest - map.cut)) : 0;
  if (document.activeElement !== $("level")) $("level").value = +S.t.toPrecision(3);
  showLevel();
  redraw("map");
}
function showLevel() {
  const map = currentMap(), level = levelOf(map, S.t);
  const survive = map.cut > 0 && S.t <= map.cut ? map.n : map.reach[level];
  let inside = 0;
  if (S.network >= 0) for (const unit of networks[S.network].members) { const q = Math.abs(map.q[unit]); inside += q >= level && q <= map.top; }
  $("survive").textContent = `${survive.toLocaleString("en")} of ${space.n.toLocaleString("en")} units`
    + (S.network >= 0 && map.kind !== "membership" ? `, ${inside.toLocaleString("en")} in ${networks[S.network].name}` : "");
  showCell();
}
const promotes = unit => DATA.promoted?.[unit] ? `; promotes ${DATA.promoted[unit]}` : "";
function showCell() {
  const unit = flat(S.cell), among = holders(unit).map(network => network.name);
  $("cell").textContent = `${named(unit)}: ${currentMap().kind === "membership" ? "" : currentMap().kind + " "}${valueOf(currentMap(), unit)}`
    + (networks.length ? among.length ? `; in ${among.join(", ")}` : "; in no network" : "")
    + (courses.has(unit) ? "; course kept" : "") + promotes(unit);
  redraw("cell");
}
function moveCell(layers, units) {
  const layer = Math.max(0, Math.min(space.widths.length - 1, S.cell.layer + layers));
  if (!space.widths[layer]) return;
  S.cell = { layer, unit: Math.max(0, Math.min(space.widths[layer] - 1, S.cell.unit + units)) };
  const { mapView: view, cell } = S, wide = view.to - view.from;
  if (cell.unit < view.from || cell.unit + 1 > view.to) {
    moveView(view, cell.unit < view.from ? cell.unit - wide / 8 : cell.unit + 1 - wide * 7 / 8, space.widest);
    redraw("map");
  }
  showCell();
}
function cellAt(event) {
  const box = mapBox($("map"), space.widths.length), x = event.offsetX - box.left, y = event.offsetY - box.top;
  if (x < 0 || y < 0 || x >= box.width || y >= box.height) return null;
  const layer = space.widths.length - 1 - Math.floor(y / box.step), start = space.offsets[layer];
  const near = box.width / (S.mapView.to - S.mapView.from) < 2 ? 3 : 0;  // among units thinner than a hand is steady
  const first = Math.max(0, binOf(S.mapView, box, x - near)[0]), end = Math.min(space.widths[layer], binOf(S.mapView, box, x + near)[1]);
  if (first >= end) return null;
  return locate(strongest(currentMap(), start + first, start + end));
}
function moveView(view, from, most) {
  const wide = view.to - view.from;
  view.from = Math.max(0, Math.min(most - wide, from));
  view.to = view.from + wide;
}
function zoom(view, factor, about, most, least) {
  const wide = Math.max(Math.min(least, most), Math.min(most, (view.to - view.from) * factor));
  const share = (about - view.from) / (view.to - view.from);
  view.to = view.from = about - share * wide;
  view.to += wide;
  moveView(view, view.from, most);
}
function zoomMap(factor, about = S.cell.unit + 0.5) {
  const { from, to } = S.mapView;
  zoom(S.mapView, factor, about < from || about > to ? (from + to) / 2 : about, space.widest, 16);
  redraw("map", "cell");
}

// Rows

function zoomRows(factor, about = S.row + 0.5) {
  const { from, to } = S.rowView;
  zoom(S.rowView, factor, about < from || about > to ? (from + to) / 2 : about, text.rows, 16);
  redraw("course", "row");
}
function setRow(row, { follow = true, centre = false } = {}) {
  S.row = Math.max(0, Math.min(text.rows - 1, row));
  const view = S.rowView, wide = view.to - view.from;
  if (centre || S.row < view.from || S.row >= view.to) {
    moveView(view, S.row + 0.5 - wide / 2, text.rows);
    redraw("course");
  }
  showText(false, follow);
  showRow();
  redraw("row");
}
const last = (starts, row) => lowerBound(starts, row + 1) - 1;
const blockOf = row => text.blocks.find(([from, to]) => from <= row && row < to);
const word = row => text.ids ? text.token.words[text.ids[row]] : String(row);
function describe(row) {
  const block = blockOf(row), context = last(text.contexts, row), run = text.runs[last(text.runs.map(one => one[0]), row)];
  const flags = text.flag ? text.flags.words[text.flag[row]] : "", course = currentCourse();
  return [
    text.runs.length > 1 || run[1] ? `row ${row} (row ${row - run[0]} of run ${run[1]})` : `row ${row}`,
    block && text.conditions[block[2]],
    text.prompts && `prompt ${text.prompts[context]}`,
    `position ${text.place ? text.place[row] : row - text.contexts[context]}`,
    text.ids && `token \u201c${word(row)}\u201d`, flags,
    text.nats && Number.isFinite(text.nats[row]) && `surprisal ${text.nats[row].toFixed(1)} nats`,
    course && `activation ${number(course.values[row])}`,
  ].filter(Boolean).join(" \u00b7 ");
}
function showRow() { $("row").textContent = describe(S.hovered ?? S.row); }
function rowAt(event) {
  const box = courseBox($("course")), x = event.offsetX - box.left;
  if (x < 0 || x >= box.width) return null;
  return Math.min(text.rows - 1, Math.floor(S.rowView.from + x / box.width * (S.rowView.to - S.rowView.from)));
}
function nextBlock(way) {
  const starts = text.blocks.map(block => block[0]), here = last(starts, S.row);
  const to = way > 0 ? here + 1 : starts[here] === S.row ? here - 1 : here;
  if (to >= 0 && to < starts.length) setRow(starts[to]);
}
