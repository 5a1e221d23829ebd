// The text, of which only a window around the cursor is in the document, and the wiring: lists, pointers, keys.

const WINDOW = 240, shown = { from: 0, to: 0, spans: [] };
function pretty(raw) {
  const plain = raw.replace(/[\u0120\u2581]/g, " ").replace(/\u010a|\n|<0x0A>/g, "\u23ce");
  return plain === "" ? "\u2205" : plain;
}
function paint(span, course, row) {
  const x = course ? (course.values[row] - course.middle) / course.far : 0;
  const [r, g, b] = course ? colourOf(x) : [255, 255, 255];
  span.style.backgroundColor = `rgb(${r},${g},${b})`;
  span.style.color = Math.abs(x) > 0.7 ? "#fff" : INK;
}
function buildText(from) {
  shown.from = Math.max(0, Math.min(text.rows - WINDOW, from));
  shown.to = Math.min(text.rows, shown.from + WINDOW);
  shown.spans = [];
  const course = currentCourse(), page = document.createDocumentFragment(), starts = new Set(text.blocks.map(block => block[0]));
  let line = null;
  for (let row = shown.from; row < shown.to; row++) {
    const context = last(text.contexts, row), first = text.contexts[context] === row;
    if (!line || first || starts.has(row)) {
      const block = blockOf(row);
      line = element("p");
      const label = [block && text.conditions[block[2]], text.prompts && `prompt ${text.prompts[context]}`, `row ${row}`];
      line.append(element("small", { textContent: label.filter(Boolean).join(" \u00b7 ") }));
      line.style.borderColor = block ? text.colours[block[2]] : "#ccc";
      page.append(line);
    }
    const flags = text.flag ? text.flags.words[text.flag[row]] : "";
    const span = element("span", { textContent: pretty(word(row)), className: "token" });
    span.classList.toggle("first", first);
    span.classList.toggle("special", /\b(bos|special)\b/.test(flags));
    span.dataset.row = row;
    paint(span, course, row);
    shown.spans.push(span);
    line.append(span);
  }
  $("text").replaceChildren(page);
}
function showText(recolour, follow = true) {
  const outside = S.row < shown.from || S.row >= shown.to || !shown.spans.length;
  if (outside) buildText(S.row - WINDOW / 3);
  else if (recolour) { const course = currentCourse(); shown.spans.forEach((span, i) => paint(span, course, shown.from + i)); }
  markRow();
  const span = shown.spans[S.row - shown.from], panel = $("text");
  if (!follow && !outside) return;
  const top = span.offsetTop, bottom = top + span.offsetHeight;
  if (outside || top < panel.scrollTop || bottom > panel.scrollTop + panel.clientHeight) panel.scrollTop = top - panel.clientHeight / 3;
}
function markRow() {
  $("text").querySelector(".here")?.classList.remove("here");
  shown.spans[S.row - shown.from]?.classList.add("here");
}
function slide() {  // the window follows the scroll bar
  const panel = $("text"), { scrollTop: top, clientHeight: high, scrollHeight: all } = panel;
  const way = top + high > all - 60 && shown.to < text.rows ? 1 : top < 60 && shown.from > 0 ? -1 : 0;
  if (!way) return;
  const anchor = shown.spans.findIndex(span => span.offsetTop + span.offsetHeight > top), row = shown.from + Math.max(0, anchor);
  const before = shown.spans[row - shown.from].offsetTop - top;
  buildText(shown.from + way * WINDOW / 3);
  markRow();
  const span = shown.spans[Math.max(0, Math.min(shown.spans.length - 1, row - shown.from))];
  panel.scrollTop = span.offsetTop - before;
}

// Wiring

function chooseMap(value) {
  S.own = value === "own";
  if (!S.own) S.map = Number(value);
  mapChanged();
}
function nextMap(way) {
  const options = [...$("map-choice").options].map(option => option.value), at = options.indexOf($("map-choice").value);
  chooseMap(options[(at + way + options.length) % options.length]);
}
function nextKept(way) {
  if (!S.ranked.length) return;
  const at = S.ranked.indexOf(S.unit);
  pickUnit(S.ranked[at < 0 ? (way > 0 ? 0 : S.ranked.length - 1) : (at + way + S.ranked.length) % S.ranked.length]);
}
function goTo(words) {
  const found = words.match(/\d+/g)?.map(Number) ?? [], [layer, unit] = found;
  const ok = found.length === 2 && layer < space.widths.length && unit < space.widths[layer];
  $("goto-error").textContent = ok ? "" : found.length !== 2 ? "Two numbers, please: layer unit, e.g. 0 12."
    : layer >= space.widths.length ? `Layers are 0 to ${space.widths.length - 1}.` : `Layer ${layer} has units 0 to ${space.widths[layer] - 1}.`;
  if (ok) pickUnit(space.offsets[layer] + unit);
  return ok;
}
// Drag pans, the wheel zooms or pans, a click without a drag picks.
function pointer(canvas, { view, most, left, width, zoomAt, changed, hover, click }) {
  let start = null;
  const unitsPer = () => (view().to - view().from) / width();
  canvas.addEventListener("pointerdown", event => { start = { x: event.offsetX, from: view().from, moved: false }; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointermove", event => {
    if (!start) return hover(event);
    if (Math.abs(event.offsetX - start.x) > 4) start.moved = true;
    if (start.moved) { moveView(view(), start.from - (event.offsetX - start.x) * unitsPer(), most); changed(); }
  });
  canvas.addEventListener("pointerup", event => { if (start && !start.moved) click(event); start = null; });
  canvas.addEventListener("pointercancel", () => { start = null; });
  canvas.addEventListener("pointerleave", () => { if (!start) hover(null); });
  canvas.addEventListener("wheel", event => {
    event.preventDefault();
    if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) { moveView(view(), view().from + event.deltaX * unitsPer(), most); changed(); }
    else zoomAt(Math.exp(Math.max(-60, Math.min(60, event.deltaY)) * 0.005), view().from + (event.offsetX - left) * unitsPer());
  }, { passive: false });
  for (const kind of ["focus", "blur"]) canvas.addEventListener(kind, () => redraw("cell", "row"));
}
pointer($("map-over"), {
  view: () => S.mapView, most: space.widest, left: 34, width: () => mapBox($("map"), 1).width,
  zoomAt: zoomMap, changed: () => redraw("map", "cell"),
  hover(event) {
    const cell = event && cellAt(event), kept = S.cell;
    if (cell) { S.cell = cell; showCell(); S.cell = kept; } else showCell();
  },
  click(event) { const cell = cellAt(event); if (cell) pickUnit(flat(cell)); },
});
pointer($("course-over"), {
  view: () => S.rowView, most: text.rows, left: 54, width: () => courseBox($("course")).width,
  zoomAt: zoomRows, changed: () => redraw("course", "row"),
  hover(event) { S.hovered = event && rowAt(event); showRow(); redraw("row"); },
  click(event) { const row = rowAt(event); if (row !== null) setRow(row); },
});
$("text").addEventListener("pointerover", event => {
  if (event.target.dataset.row && event.pointerType === "mouse") setRow(Number(event.target.dataset.row), { follow: false });
});
$("text").addEventListener("click", event => { if (event.target.dataset.row) setRow(Number(event.target.dataset.row), { follow: false, centre: true }); });
$("text").addEventListener("scroll", slide);
$("slider").addEventListener("input", () => {
  const map = currentMap();
  threshold(map.cut + (map.largest - map.cut) * ($("slider").value / 1000) ** 2, true);
});
$("level").addEventListener("input", () => threshold(Number($("level").value)));
$("level").addEventListener("blur", () => threshold(S.t));
$("map-choice").addEventListener("change", () => chooseMap($("map-choice").value));
$("kept").addEventListener("change", () => { if ($("kept").value !== "") pickUnit(Number($("kept").value)); });
$("goto").addEventListener("submit", event => { event.preventDefault(); if (goTo($("unit").value)) $("unit").blur(); });
$("outlines").addEventListener("change", () => { S.outlines = $("outlines").checked; redraw("map"); });
$("whole").addEventListener("change", () => { S.whole = $("whole").checked; redraw("course"); });
$("help-button").addEventListener("click", () => $("help").showModal());
for (const button of document.querySelectorAll("[data-do]")) button.addEventListener("click", () => DO[button.dataset.do]());
const DO = {
  "map-in": () => zoomMap(0.5), "map-out": () => zoomMap(2), "map-all": () => zoomMap(Infinity),
  "rows-in": () => zoomRows(0.5), "rows-out": () => zoomRows(2), "rows-all": () => zoomRows(Infinity),
};

function key(event) {
  const on = document.activeElement, onMap = on === $("map-over"), many = event.shiftKey;
  const wide = Math.max(1, Math.round((S.mapView.to - S.mapView.from) / 20));
  const rows = on === $("course-over") || on === $("text");
  switch (event.key) {
    case "ArrowLeft": return onMap ? moveCell(0, many ? -wide : -1) : setRow(S.row - (many ? 10 : 1));
    case "ArrowRight": return onMap ? moveCell(0, many ? wide : 1) : setRow(S.row + (many ? 10 : 1));
    case "ArrowUp": return onMap ? moveCell(1, 0) : on === $("text") ? false : pickNetwork(Math.max(0, S.network - 1));
    case "ArrowDown": return onMap ? moveCell(-1, 0) : on === $("text") ? false : pickNetwork(S.network + 1);
    case "Enter": return onMap ? pickUnit(flat(S.cell)) : false;
    case "PageDown": return rows ? nextBlock(1) : false;
    case "PageUp": return rows ? nextBlock(-1) : false;
    case "Home": return rows ? setRow(0) : onMap ? moveCell(0, -space.n) : false;
    case "End": return rows ? setRow(text.rows - 1) : onMap ? moveCell(0, space.n) : false;
    case "+": case "=": return onMap ? zoomMap(0.5) : zoomRows(0.5);
    case "-": return onMap ? zoomMap(2) : zoomRows(2);
    case "0": return onMap ? zoomMap(Infinity) : zoomRows(Infinity);
    case "[": case "]": {
      $("slider").value = Number($("slider").value) + (event.key === "]" ? 20 : -20);
      return $("slider").dispatchEvent(new Event("input"));
    }
    case "m": return nextMap(1);
    case "M": return nextMap(-1);
    case "u": return nextKept(1);
    case "U": return nextKept(-1);
    case "o": return $("outlines").click();
    case "y": return $("whole").click();
    case "/": return $("unit").select();
    case "Escape": return S.unit >= 0 && S.network >= 0 ? pickNetwork(S.network) : false;
    case "?": return $("help").showModal();
    default: return /^[1-9]$/.test(event.key) ? pickNetwork(Number(event.key) - 1) : false;
  }
}
addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
  if (event.target.matches("input, select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    if (!(event.target === $("slider") && /^[^A]$/.test(event.key))) return;
  }
  if (event.target.matches("button") && (event.key === "Enter" || event.key === " ")) return;
  if (key(event) !== false) event.preventDefault();
});

// Beginning

fillList();
for (const [i, map] of DATA.maps.entries()) $("map-choice").append(element("option", { value: i, textContent: `${map.name} (${map.kind})` }));
if (networks.length) $("map-choice").prepend(element("option", { value: "own", textContent: "of the picked network" }));
$("legend").append(...text.conditions.map((name, i) => {
  const mark = element("i");
  mark.style.backgroundColor = text.colours[i];
  return element("span", {}, mark, name);
}));
$("text").classList.toggle("apart", !spaced);
$("app").hidden = $("help-button").hidden = false;
S.cell = locate(networks.length && networks[0].members.length ? networks[0].members[0] : 0);
mapChanged();
networks.length ? pickNetwork(0) : picked();
new ResizeObserver(() => redraw("map", "cell", "course", "row")).observe($("app"));
