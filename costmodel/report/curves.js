// Curves over the batch, other sizes and clocks; phases of text generation.
function sweepsSection(target) {
  const parts = [];
  if (target.batching) parts.push(...batchCurves(target));
  for (const sweep of target.sweeps || []) {
    if (target.batching && sweep.symbol === target.batching.symbol && parts.length)
      parts.splice(0, parts.length, ...sweepCurves(target, sweep, true), batchMemory(target));
    else parts.push(...sweepCurves(target, sweep, false));
  }
  const slopes = elasticityTiles(target);
  if (!parts.length && !slopes) return null;
  return section(
    "sweeps",
    "Sweeps",
    "Bands are 90 % intervals; the dotted line is the point that the rest of the page shows.",
    slopes,
    parts.length ? html("div", { class: "columns" }, parts) : null,
  );
}

function elasticityTiles(target) {
  const whole = (target.elasticities || {}).whole;
  if (!whole) return null;
  const tile = (name, v) =>
    v === null || v === undefined
      ? null
      : html("div", {}, html("dt", {}, name), html("dd", {}, `${v > 0 ? "+" : v < 0 ? "−" : ""}${Math.abs(v).toFixed(2)} %`));
  return html(
    "div",
    {},
    html("h3", {}, "What the time does when something grows by 1 %"),
    html("dl", { class: "tiles" }, tile("core clock", whole.core), tile("memory clock", whole.memory), tile("batch", whole.batch)),
  );
}

function batchCurves(target) {
  const b = target.batching,
    here = (target.dims || {})[b.symbol],
    x = b.batches;
  const each = b.joules.map((row, i) => row.map(v => v / x[i]));
  return [
    curve(`Latency of a ${b.symbol}`, b.symbol, x, b.seconds, "s", here),
    curve(
      "Throughput",
      b.symbol,
      x,
      b.throughput.map(v => [v, v, v]),
      "/s",
      here,
    ),
    curve("Energy per item", b.symbol, x, each, "J", here),
    batchMemory(target),
  ];
}
function batchMemory(target) {
  const b = target.batching;
  const best = b.best
    ? ` Best batch for throughput within memory: ${b.best.batch}${b.best.limited_by ? `, limited by ${b.best.limited_by}` : ""}.`
    : "";
  return curve(
    "Working set",
    b.symbol,
    b.batches,
    b.working_set.map(v => [v, v, v]),
    "B",
    (target.dims || {})[b.symbol],
    `Weights once, and the peak of activations.${best}`,
  );
}

function sweepCurves(target, sweep, isBatch) {
  const clock = sweep.symbol === "core" || sweep.symbol === "memory",
    name = clock ? `${sweep.symbol} clock` : sweep.symbol;
  const here = clock ? 1 : (target.dims || {})[sweep.symbol],
    x = sweep.values,
    axis = clock ? `${name}, × nominal` : name;
  const found = [curve(`Latency over the ${name}`, axis, x, sweep.seconds, "s", here)];
  const rate = sweep.seconds.map((s, i) => {
    const items = isBatch ? x[i] : 1;
    return [items / s[2], items / s[1], items / s[0]];
  });
  if (isBatch) found.push(curve(`Throughput over the ${name}`, axis, x, rate, "/s", here));
  found.push(
    curve(
      isBatch ? `Energy per item over the ${name}` : `Energy over the ${name}`,
      axis,
      x,
      sweep.joules.map((row, i) => row.map(v => (isBatch ? v / x[i] : v))),
      "J",
      here,
    ),
  );
  return found;
}

// one curve with its band; rows are low, expected, high
function curve(title, axis, values, rows, unit, here, note) {
  const show = v => si(v, unit);
  const holder = chart(
    `${title}: from ${show(rows[0][1])} at ${plain(values[0])} to ${show(rows[rows.length - 1][1])} at ${plain(values[values.length - 1])}`,
    (root, width) => drawCurve(root, width, axis, values, rows, show, here),
  );
  holder.classList.add("curve");
  const table = tableOf(
    "Table",
    [
      [axis, "n"],
      ["low", "n"],
      ["expected", "n"],
      ["high", "n"],
    ],
    () => values.map((v, i) => [plain(v), ...rows[i].map(show)]),
  );
  return html("figure", { style: "margin:0" }, html("h3", {}, title), holder, note ? html("p", { class: "hint" }, note) : null, table);
}

function drawCurve(root, width, axis, values, rows, show, here) {
  const wide = values[values.length - 1] / values[0] >= 8 && values[0] > 0,
    tops = Math.max(...rows.map(r => r[2]));
  const least = Math.min(...rows.map(r => r[0])),
    log = least > 0 && tops / least > 30;
  const high = tops * (log ? 1.3 : 1.08),
    low = log ? least / 1.3 : 0;
  const ticks = log ? decades(low, high, 5) : niceTicks(low, high, 4);
  const box = { left: widest(ticks.map(show)) + 12, right: width - 8, top: 10, bottom: 190, width };
  const first = values[0],
    last = values[values.length - 1];
  const x = wide ? logarithmic(first, last, box.left + 6, box.right - 6) : linear(first, last, box.left + 6, box.right - 6);
  const y = log ? logarithmic(low, high, box.bottom, box.top) : linear(low, high, box.bottom, box.top);
  const powers = [];
  for (let p = 2 ** Math.ceil(Math.log2(first)); p <= last; p *= 2) powers.push(p);
  yAxis(root, ticks, y, box, show, "");
  xAxis(root, wide ? powers : niceTicks(first, last, 5), x, box, plain, axis);
  const line = k => rows.map((r, i) => `${x(values[i]).toFixed(1)} ${y(r[k]).toFixed(1)}`);
  if (rows.some(r => r[2] > r[0]))
    root.append(svg("path", { class: "band f-compute", d: `M${line(2).join("L")}L${line(0).reverse().join("L")}Z` }));
  if (here >= first && here <= last) root.append(svg("line", { class: "here", x1: x(here), x2: x(here), y1: box.top, y2: box.bottom }));
  root.append(svg("path", { class: "line s-compute", d: `M${line(1).join("L")}` }));
  if (values.length <= 24) rows.forEach((r, i) => root.append(svg("circle", { class: "f-compute", cx: x(values[i]), cy: y(r[1]), r: 3 })));
  const ring = svg("circle", { class: "whisker", r: 6, visibility: "hidden" });
  root.append(ring);
  nearestPoint(
    root,
    () => values.map((v, i) => ({ x: x(v), y: y(rows[i][1]) })),
    { x: true, distance: 40 },
    (i, px, py) => {
      ring.setAttribute("cx", x(values[i]));
      ring.setAttribute("cy", y(rows[i][1]));
      ring.setAttribute("visibility", "visible");
      const range = rows[i][2] > rows[i][0] ? [["interval", span(rows[i], show)]] : [];
      showTip(root, px, py, show(rows[i][1]), [[axis, plain(values[i])], ...range]);
    },
    () => ring.setAttribute("visibility", "hidden"),
  );
  return box.bottom + 38;
}

// -- phases of text generation
function phasesSection(target) {
  const p = target.phases;
  if (!p) return null;
  const names = [
    ["load weights", p.init, "near"],
    ["read the prompt", p.prefill, "compute"],
    ["generate", p.decode, "far"],
    ["choose tokens", p.post, "dispatch"],
  ];
  const total = sum(names.map(([, r]) => r[1])) || 1,
    kept = names.filter(([, r]) => r[1] > 0);
  const stack = html(
    "div",
    { class: "stack", role: "img", "aria-label": kept.map(([name, r]) => `${name} ${seconds(r[1])}`).join(", ") },
    kept.map(([, r, kind]) => html("i", { class: `b-${kind}`, style: `flex-grow:${(r[1] / total).toFixed(4)}` })),
  );
  const legend = html(
    "ul",
    { class: "legend" },
    kept.map(([name, r, kind]) =>
      html("li", {}, html("span", { class: "item" }, swatch(kind), `${name} ${seconds(r[1])} (${span(r, seconds)})`)),
    ),
  );
  const tile = (name, value, small) =>
    html("div", {}, html("dt", {}, name), html("dd", {}, value, small ? html("small", {}, small) : null));
  const rate = p.tokens_per_second,
    per = v => si(v, "tokens/s");
  const tiles = html(
    "dl",
    { class: "tiles" },
    tile("first token", seconds(p.first_token[1]), span(p.first_token, seconds)),
    tile("then", per(rate[1]), span(rate, per)),
    tile("in all", seconds(p.total[1]), span(p.total, seconds)),
    tile("energy", joules(p.joules[1]), span(p.joules, joules)),
    p.kv_bytes ? tile("keys and values at the end", bytes(p.kv_bytes)) : null,
  );
  const steps = p.decode_steps || [];
  const growth =
    steps.length > 1
      ? curve(
          "Time of a token as the context grows",
          "tokens before it",
          steps.map((_, i) => p.prompt + i),
          steps.map(v => [v, v, v]),
          "s",
        )
      : null;
  const again = p.cached ? "" : "; the model keeps no keys and values, every token reads all tokens before it again";
  const hint = `${p.generated} tokens after a prompt of ${p.prompt}, ${plural(p.batch, "sequence")} at once${again}.`;
  return section("phases", "Text generation", hint, tiles, stack, legend, growth);
}
