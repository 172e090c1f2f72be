// The summary of a target, what to do about it, and what is best read as a table.
const tile = (name, value, small) => html("div", {}, html("dt", {}, name), html("dd", {}, value, small ? html("small", {}, small) : null));

function summarySection(target) {
  const levels = target.roofline.levels || [],
    last = levels[levels.length - 1],
    each = target.seconds[1];
  const need = target.peak_bytes + target.weight_bytes,
    rate = target.flops && each ? target.flops / each : 0,
    used = last ? `; ${percent(need / last.bytes)} of ${last.name}` : "";
  const [dtype, peak] = mainPeak(target);
  const tiles = html(
    "dl",
    { class: "tiles" },
    tile("latency", seconds(each), `${span(target.seconds, seconds)}; ${si(1 / each, "")} per second`),
    target.joules
      ? tile("energy", joules(target.joules[1]), `${span(target.joules, joules)}; ${si(target.joules[1] / each, "W")} on average`)
      : null,
    tile("memory", bytes(need), `weights ${bytes(target.weight_bytes)}, peak activations ${bytes(target.peak_bytes)}${used}`),
    target.macs
      ? tile(
          "work",
          si(target.macs, "MAC"),
          `${si(target.flops, "FLOP")} at ${si(rate, "FLOP/s")}${peak ? `, ${percent(rate / peak)} of the peak in ${dtype}` : ""}`,
        )
      : null,
    target.kv_bytes ? tile("keys and values", bytes(target.kv_bytes)) : null,
  );
  const shares = target.bound_shares || {},
    order = boundOrder(target, Object.keys(shares));
  const stack = order.length
    ? html(
        "div",
        {},
        html(
          "div",
          { class: "stack", role: "img", "aria-label": `bound by ${order.map(b => `${boundText(b)} ${percent(shares[b])}`).join(", ")}` },
          order
            .filter(b => shares[b] > 0.001)
            .map(b => html("i", { class: `b-${slot(target, b)}`, style: `flex-grow:${shares[b].toFixed(4)}` })),
        ),
        html(
          "ul",
          { class: "legend", "aria-label": "what bounds the time" },
          order.map(b => html("li", {}, html("span", { class: "item" }, swatch(slot(target, b)), `${boundText(b)} ${percent(shares[b])}`))),
        ),
      )
    : null;
  const engine = [
    target.engine && `engine ${target.engine}`,
    target.roofline.units && plural(target.roofline.units, "unit"),
    target.tier && `tier ${target.tier}`,
    target.kernels && `kernels: ${target.kernels}`,
    `${target.nodes.seconds.length} of them`,
  ]
    .filter(Boolean)
    .join(" · ");
  return section("summary", target.target, engine, tiles, order.length ? html("h3", {}, "What bounds the time") : null, stack);
}

// the element type of most multiply-accumulates, and its peak
function mainPeak(target) {
  const peaks = target.roofline.peaks || {},
    found = {};
  target.nodes.dtype.forEach((d, i) => {
    found[d] = (found[d] || 0) + target.nodes.macs[i];
  });
  const [dtype] = Object.entries(found).reduce((a, b) => (b[1] > a[1] ? b : a), ["", -1]);
  return [dtype, peaks[dtype] || 0];
}

// alike nodes, as layers of one model repeat them, stand in one row
function alike(items, key) {
  const found = new Map();
  for (const item of items) {
    const k = key(item);
    if (!found.has(k)) found.set(k, []);
    found.get(k).push(item);
  }
  return [...found.values()];
}
const times = count => (count > 1 ? html("b", { class: "whole" }, ` × ${count}`) : null);

function adviceSection(target, graph) {
  const n = target.nodes,
    order = n.seconds
      .map((_, i) => i)
      .filter(i => n.seconds[i][1] > 0)
      .sort((a, b) => n.seconds[b][1] - n.seconds[a][1]);
  if (!order.length) return null;
  const advice = (target.advice || []).map(a =>
    html(
      "li",
      {},
      a.gain ? html("span", { class: "gain" }, `−${percent(a.gain)} time`) : null,
      html("b", {}, sentence(a.action)),
      html("span", { class: "dim" }, a.evidence),
    ),
  );
  const groups = alike(order, i => [graph.op[i], n.bound[i], graph.kernel[i], n.seconds[i][1].toPrecision(2)].join("|"));
  const whole = group => sum(group.map(i => n.seconds[i][1]));
  groups.sort((a, b) => whole(b) - whole(a));
  const most = whole(groups[0]);
  const row = group => () => {
    const i = group[0],
      s = whole(group),
      saved = sum(group.map(k => n.gain[k]));
    const meter = html(
      "span",
      { class: "meter", "aria-hidden": "true" },
      html("i", { class: `b-${slot(target, n.bound[i])}`, style: `width:${((100 * s) / most).toFixed(1)}%` }),
    );
    const name = html(
      "span",
      {},
      html("b", {}, graph.name[i]),
      " ",
      html("span", { class: "dim" }, graph.op[i]),
      times(group.length),
      meter,
    );
    return [name, seconds(s), percent(s / target.seconds[1]), boundText(n.bound[i]), n.evidence[i], saved ? `−${percent(saved)}` : ""];
  };
  const heads = [
    ["node", "id head"],
    ["time", "n"],
    ["share", "n"],
    ["bound by", "whole"],
    ["why", "id long dim"],
    ["time at its roof", "n"],
  ];
  const table = growing(heads, groups.slice(0, 40).map(row), narrow() ? 5 : 10, "cards");
  const hint =
    "Nodes of one operator that take the same time share a row. " +
    "“Time at its roof” is what the model's time loses when they reach their roof.";
  return section(
    "advice",
    "Bottlenecks and advice",
    null,
    advice.length ? html("ul", { class: "advice" }, advice) : null,
    html("h3", {}, "What takes longest"),
    html("p", { class: "hint" }, hint),
    table,
  );
}
const sentence = text => text.charAt(0).toUpperCase() + text.slice(1);

// a table that shows its first rows, and the rest on demand
function growing(heads, rows, first, kind) {
  const holder = html("div", {});
  const show = count => {
    const left = rows.length - count;
    holder.replaceChildren(
      dataTable(
        heads,
        rows.slice(0, count).map(r => r()),
        kind,
      ),
      left > 0 ? html("button", { type: "button", class: "more", onclick: () => show(rows.length) }, `show ${left} more`) : "",
    );
  };
  show(Math.min(first, rows.length));
  return holder;
}

function fusionSection(target) {
  const cases = target.fusion || [];
  if (!cases.length) return null;
  const gain = sum(cases.map(c => c.gain)),
    groups = alike(cases, c =>
      [c.nodes.length, c.verdict, ...[c.seconds_before, c.gain, c.bytes_before].map(v => v.toPrecision(2))].join("|"),
    );
  const saved = group => sum(group.map(c => c.gain));
  groups.sort((a, b) => Math.abs(saved(b)) - Math.abs(saved(a)));
  const most = Math.abs(saved(groups[0])) || 1,
    total = (group, key) => sum(group.map(c => c[key]));
  const row = group => () => {
    const c = group[0],
      s = saved(group),
      spilled = total(group, "spill_bytes");
    const meter = html(
      "span",
      { class: "meter", "aria-hidden": "true" },
      html("i", { class: s >= 0 ? "b-compute" : "b-far", style: `width:${((100 * Math.abs(s)) / most).toFixed(1)}%` }),
    );
    return [
      html(
        "span",
        {},
        html("b", {}, c.name),
        " ",
        html("span", { class: "dim whole" }, plural(c.nodes.length, "node")),
        times(group.length),
        meter,
      ),
      seconds(total(group, "seconds_before")),
      seconds(total(group, "seconds_after")),
      `${s < 0 ? "−" : "+"}${seconds(Math.abs(s))}`,
      `${plain(c.intensity_before)} → ${plain(c.intensity_after)}`,
      bytes(total(group, "bytes_before") - total(group, "bytes_after")),
      spilled ? bytes(spilled) : "",
      c.verdict,
      c.evidence,
    ];
  };
  const heads = [
    ["kernel", "id head"],
    ["apart", "n"],
    ["fused", "n"],
    ["gain", "n"],
    ["FLOP/B", "n"],
    ["bytes saved", "n"],
    ["spilled", "n"],
    ["verdict", ""],
    ["why", "id long dim"],
  ];
  const apart = target.seconds[1] + Math.max(gain, 0);
  const hint =
    `${plural(cases.length, "fused kernel")} save ${seconds(gain)}, ${percent(Math.max(gain, 0) / apart)} of the time without them; ` +
    "alike ones share a row. FLOP/B is the intensity before and after, with weights and spills; the bar is the gain.";
  return section("fusion", "Fusion", hint, growing(heads, groups.map(row), narrow() ? 4 : 10, "cards"));
}

function precisionSection(target) {
  const others = Object.entries(target.precisions || {});
  if (!others.length) return null;
  const rows = [
    [
      target.precision,
      { seconds: target.seconds, joules: target.joules, weight_bytes: target.weight_bytes, peak_bytes: target.peak_bytes },
    ],
    ...others,
  ];
  const holder = chart(`Time of ${rows.length} precisions on ${target.target}; the table below has the same figures`, (root, width) => {
    const left = widest(rows.map(r => r[0])) + 14,
      right = width - 84,
      most = Math.max(...rows.map(r => r[1].seconds[2])),
      x = linear(0, most, left, right);
    rows.forEach(([name, r], k) => {
      const top = k * 30 + 6,
        [low, expected, high] = r.seconds.map(x);
      root.append(
        svg("text", { x: 0, y: top + 14 }, name),
        svg("rect", {
          class: k ? "f-run" : "f-compute",
          x: left,
          y: top,
          width: Math.max(expected - left, 1),
          height: 18,
          rx: 2,
          "fill-opacity": 0.7,
        }),
      );
      root.append(
        svg("path", { class: "whisker", d: `M${low} ${top + 4}v10M${low} ${top + 9}H${high}M${high} ${top + 4}v10` }),
        svg("text", { x: width - 2, y: top + 14, "text-anchor": "end" }, seconds(r.seconds[1])),
      );
    });
    return rows.length * 30 + 8;
  });
  const table = tableOf(
    "Table of the precisions",
    [
      ["precision", ""],
      ["time", "n"],
      ["interval", "n"],
      ["energy", "n"],
      ["weights", "n"],
      ["peak activations", "n"],
    ],
    () =>
      rows.map(([name, r]) => [
        name,
        seconds(r.seconds[1]),
        span(r.seconds, seconds),
        r.joules ? joules(r.joules[1]) : "",
        bytes(r.weight_bytes),
        bytes(r.peak_bytes),
      ]),
  );
  return section(
    "precision",
    "Precision",
    "The same model in other precisions that the engine computes in; w4 and w8 narrow the weights alone.",
    holder,
    table,
  );
}

function energySection(target) {
  const parts = Object.entries(target.energy || {}).filter(([name, r]) => name !== "wall" && name !== "component" && r[1] > 0);
  if (!parts.length) return null;
  const names = { floor: "the device's floor", leakage: "leakage" };
  const kindOf = name =>
    name.startsWith("arithmetic")
      ? "compute"
      : name.startsWith("memory.")
        ? slot(target, name.slice(7))
        : name === "leakage"
          ? "dispatch"
          : "run";
  const text = name => names[name] || name.replace(/^arithmetic\./, "arithmetic in ").replace(/^memory\./, "");
  const total = sum(parts.map(([, r]) => r[1])),
    shown = parts.filter(([, r]) => r[1] / total > 0.0005);
  const stack = html(
    "div",
    { class: "stack", role: "img", "aria-label": parts.map(([name, r]) => `${text(name)} ${joules(r[1])}`).join(", ") },
    shown.map(([name, r]) => html("i", { class: `b-${kindOf(name)}`, style: `flex-grow:${(r[1] / total).toFixed(4)}` })),
  );
  const legend = html(
    "ul",
    { class: "legend" },
    shown.map(([name, r]) =>
      html("li", {}, html("span", { class: "item" }, swatch(kindOf(name)), `${text(name)} ${joules(r[1])}, ${percent(r[1] / total)}`)),
    ),
  );
  const table = tableOf(
    "Table of energies",
    [
      ["part", ""],
      ["low", "n"],
      ["expected", "n"],
      ["high", "n"],
    ],
    () => Object.entries(target.energy).map(([name, r]) => [name, ...r.map(joules)]),
  );
  const component = (target.energy.component || [0, 0, 0])[1];
  const hint = `At the wall ${joules(target.joules[1])} (${span(target.joules, joules)}); the engine and its memory ${joules(component)}.`;
  return section("energy", "Energy", hint, stack, legend, table);
}

function notesSection(target) {
  const assumed = Object.entries(target.assumed || {}).map(([name, v]) => `${name} is assumed to be ${v}: only the data decide it`);
  const notes = [...(target.notes || []), ...assumed];
  return notes.length
    ? section(
        "notes",
        "Notes",
        null,
        html(
          "ul",
          { style: "margin:.4rem 0;padding-left:1.2rem" },
          notes.map(n => html("li", {}, sentence(n))),
        ),
      )
    : null;
}
