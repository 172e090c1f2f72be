// Elements, numbers, scales and axes that all charts use.
const SVG = "http://www.w3.org/2000/svg";
const narrow = () => window.innerWidth < 640;

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat()) if (child !== null && child !== undefined) node.append(child);
  return node;
}
const html = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

// -- numbers
const PREFIXES = [
  [1e15, "P"],
  [1e12, "T"],
  [1e9, "G"],
  [1e6, "M"],
  [1e3, "k"],
  [1, ""],
  [1e-3, "m"],
  [1e-6, "µ"],
  [1e-9, "n"],
  [1e-12, "p"],
];
function si(value, unit = "", digits = 3) {
  if (!value) return unit ? `0\u00a0${unit}` : "0";
  if (!Number.isFinite(value)) return `∞\u00a0${unit}`;
  value = Number(value.toPrecision(digits));
  const [size, prefix] = PREFIXES.find(([s]) => Math.abs(value) >= s) || PREFIXES[PREFIXES.length - 1];
  const mark = prefix + unit;
  return `${Number((value / size).toPrecision(digits))}${mark ? `\u00a0${mark}` : ""}`;
}
const seconds = v => si(v, "s"),
  bytes = v => si(v, "B"),
  joules = v => si(v, "J");
const plain = v => Number(v.toPrecision(3)).toString();
function percent(share) {
  const p = 100 * share;
  return p > 0 && p < 0.1 ? "<0.1 %" : p > 0 && p < 1 ? `${p.toFixed(1)} %` : `${Math.round(p)} %`;
}
const span = (r, show) => `${show(r[0])} – ${show(r[2])}`;
const sum = values => values.reduce((a, b) => a + b, 0);
const plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;

// -- what bounds a kernel
const SLOTS = ["far", "near", "nearer", "nearest"];
function slot(target, bound) {
  const levels = (target.roofline.levels || []).map(l => l.name),
    at = levels.indexOf(bound);
  if (at >= 0) return SLOTS[Math.min(levels.length - 1 - at, SLOTS.length - 1)];
  return bound === "compute" || bound === "dispatch" ? bound : "run";
}
const boundText = bound => ({ run: "run overhead", dispatch: "launches" })[bound] || bound;
// compute first, then memory from far to near, then overheads: the order of every legend and stack
function boundOrder(target, bounds) {
  const order = ["compute", ...(target.roofline.levels || []).map(l => l.name).reverse(), "dispatch", "run"];
  const place = b => {
    const i = order.indexOf(b);
    return i < 0 ? order.length : i;
  };
  return [...new Set(bounds)].sort((a, b) => place(a) - place(b));
}
const category = i => `c${i % 7}`;

// -- text
const pen = document.createElement("canvas").getContext("2d");
function textWidth(text, size = 12) {
  pen.font = `${size}px system-ui, sans-serif`;
  return pen.measureText(text).width;
}
function clip(text, width, size = 12) {
  if (textWidth(text, size) <= width) return text;
  let low = 0,
    high = text.length;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (textWidth(text.slice(0, middle) + "…", size) <= width) low = middle;
    else high = middle - 1;
  }
  return low ? text.slice(0, low) + "…" : "";
}
// positions at least a gap apart and inside of limits, as near as possible to where they should be
function spread(items, gap, low, high) {
  const order = [...items].sort((a, b) => a.at - b.at),
    between = (a, b) => (a && b ? gap + ((a.size || 0) + (b.size || 0)) / 2 : 0);
  order.forEach((item, i) => {
    item.placed = Math.max(item.at, low, i ? order[i - 1].placed + between(order[i - 1], item) : -Infinity);
  });
  for (let i = order.length - 1; i >= 0; i--) {
    const next = order[i + 1];
    order[i].placed = Math.min(order[i].placed, next ? next.placed - between(order[i], next) : high);
  }
  return items;
}

// -- scales
function linear(d0, d1, r0, r1) {
  const f = v => r0 + ((v - d0) / (d1 - d0 || 1)) * (r1 - r0);
  f.inverse = r => d0 + ((r - r0) / (r1 - r0)) * (d1 - d0);
  return f;
}
function logarithmic(d0, d1, r0, r1) {
  const l = linear(Math.log10(d0), Math.log10(d1), r0, r1);
  return v => l(Math.log10(v));
}
function niceTicks(low, high, count) {
  const step = (high - low) / Math.max(count, 1) || 1,
    size = 10 ** Math.floor(Math.log10(step));
  const unit = [1, 2, 2.5, 5, 10].map(m => m * size).find(s => s >= step * 0.999) || 10 * size,
    found = [];
  for (let i = Math.ceil(low / unit - 1e-9); i * unit <= high * (1 + 1e-9); i++) found.push(Number((i * unit).toPrecision(12)));
  return found;
}
function decades(low, high, most) {
  const first = Math.ceil(Math.log10(low) - 1e-9),
    last = Math.floor(Math.log10(high) + 1e-9),
    step = Math.max(1, Math.ceil((last - first + 1) / most));
  const found = [];
  for (let e = first; e <= last; e++) if ((e - first) % step === 0) found.push(10 ** e);
  return found;
}
function xAxis(root, ticks, scale, box, show, title) {
  let before = -Infinity;
  for (const tick of ticks) {
    const x = scale(tick),
      text = show(tick),
      half = textWidth(text) / 2;
    root.append(svg("line", { class: "grid", x1: x, x2: x, y1: box.top, y2: box.bottom }));
    const at = Math.min(Math.max(x, half + 1), box.width - half - 1);
    if (at - half < before + 8) continue;
    root.append(svg("text", { class: "soft", x: at, y: box.bottom + 15, "text-anchor": "middle" }, text));
    before = at + half;
  }
  if (title) root.append(svg("text", { class: "soft", x: box.right, y: box.bottom + 31, "text-anchor": "end" }, title));
}
function yAxis(root, ticks, scale, box, show, title) {
  for (const tick of ticks) {
    const y = scale(tick);
    root.append(svg("line", { class: "grid", x1: box.left, x2: box.right, y1: y, y2: y }));
    root.append(svg("text", { class: "soft", x: box.left - 6, y: y + 4, "text-anchor": "end" }, show(tick)));
  }
  if (title) root.append(svg("text", { class: "soft", x: 2, y: 11 }, title));
}
const widest = texts => Math.max(0, ...texts.map(t => textWidth(t)));

// -- charts that follow the width of the page
const charts = [];
function chart(label, draw) {
  const holder = html("div", { class: "chart" });
  charts.push({ holder, label, draw, width: 0 });
  return holder;
}
function drawCharts(force) {
  for (const one of charts) {
    const width = Math.floor(one.holder.clientWidth);
    if (!width || (!force && width === one.width)) continue;
    one.width = width;
    const root = svg("svg", { role: "img", "aria-label": one.label });
    const height = one.draw(root, width);
    root.setAttribute("viewBox", `0 0 ${width} ${height}`);
    root.setAttribute("height", height);
    one.holder.replaceChildren(root);
  }
}
function redraw(holder) {
  const one = charts.find(c => c.holder === holder);
  if (one) {
    one.width = 0;
    drawCharts(false);
  }
}

// -- pieces of HTML
function section(id, title, hint, ...content) {
  return html(
    "section",
    { id, "aria-labelledby": `${id}-title` },
    html("h2", { id: `${id}-title` }, title),
    hint ? html("p", { class: "hint" }, hint) : null,
    ...content,
  );
}
function choice(label, options, chosen, change) {
  const select = html(
    "select",
    { onchange: e => change(e.target.value) },
    options.map(([value, text]) => html("option", { value, selected: value === chosen }, text)),
  );
  return html("label", {}, label, select);
}
const swatch = kind => html("span", { class: `swatch b-${kind}` });
function tableOf(summary, heads, rows) {
  const details = html("details", {}, html("summary", {}, summary));
  details.addEventListener("toggle", () => {
    if (details.open && !details.querySelector("table"))
      details.append(html("div", { class: "wide", tabindex: "0" }, dataTable(heads, rows())));
  });
  return details;
}
// heads: [text, class]; rows: lists of texts or elements
function dataTable(heads, rows, kind = "") {
  return html(
    "table",
    { class: `data ${kind}` },
    html(
      "thead",
      {},
      html(
        "tr",
        {},
        heads.map(([text, type]) => html("th", { class: type, scope: "col" }, text)),
      ),
    ),
    html(
      "tbody",
      {},
      rows.map(row =>
        html(
          "tr",
          {},
          row.map((cell, i) => html("td", { class: heads[i][1], "data-label": heads[i][0] }, cell)),
        ),
      ),
    ),
  );
}
