// Targets, precisions and batches against each other: seconds and joules per item.
const SHAPES = [
  r => `M${-r} 0A${r} ${r} 0 1 1 ${r} 0A${r} ${r} 0 1 1 ${-r} 0Z`,
  r => `M${-r * 0.9} ${-r * 0.9}H${r * 0.9}V${r * 0.9}H${-r * 0.9}Z`,
  r => `M0 ${-r * 1.25}L${r * 1.15} ${r * 0.85}H${-r * 1.15}Z`,
  r => `M0 ${-r * 1.3}L${r * 1.3} 0L0 ${r * 1.3}L${-r * 1.3} 0Z`,
  r => `M0 ${r * 1.25}L${r * 1.15} ${-r * 0.85}H${-r * 1.15}Z`,
  r => {
    const u = r * 0.8;
    return `M${-u / 2} ${-1.5 * u}h${u}v${u}h${u}v${u}h${-u}v${u}h${-u}v${-u}h${-u}v${-u}h${u}Z`;
  },
];

function paretoSection() {
  const points = DATA.choices.filter(c => c.seconds > 0 && c.joules > 0);
  if (points.length < 2) return null;
  const targets = [...new Set(points.map(c => c.target))],
    precisions = [...new Set(points.map(c => c.precision))];
  const kind = c => category(targets.indexOf(c.target)),
    shape = c => SHAPES[precisions.indexOf(c.precision) % SHAPES.length];
  const holder = chart(
    `Seconds and joules per item of ${points.length} choices of target, precision and batch; the table below has the same figures`,
    (root, width) => drawPareto(root, width, points, kind, shape),
  );
  const item = (mark, text) => html("li", {}, html("span", { class: "item" }, mark, text));
  const drawn = i =>
    svg(
      "svg",
      { viewBox: "-8 -8 16 16", width: 15, height: 15, style: "width:15px;flex:none", "aria-hidden": "true" },
      svg("path", { d: SHAPES[i % SHAPES.length](6), class: "f-run" }),
    );
  const legend = html(
    "ul",
    { class: "legend" },
    targets.map((t, i) => item(swatch(category(i)), t)),
    precisions.map((p, i) => item(drawn(i), p)),
  );
  const best = points.filter(c => c.best).sort((a, b) => a.seconds - b.seconds);
  const heads = [
    ["target", "head"],
    ["precision", ""],
    ["batch", "n"],
    ["time per item", "n"],
    ["latency", "n"],
    ["energy per item", "n"],
    ["bits", "n"],
  ];
  const row = c => [
    html("b", {}, c.target),
    c.precision,
    String(c.batch),
    seconds(c.seconds),
    seconds(c.latency),
    joules(c.joules),
    plain(c.bits),
  ];
  const table = tableOf(`Table of the ${plural(best.length, "choice")} that nothing beats`, heads, () => best.map(row));
  const all = tableOf(`Table of all ${points.length} choices`, heads, () => points.map(row));
  const hint =
    "Filled: no other choice is better in time, energy and bits of the arithmetic (which stand for quality) at once. " +
    "Near the lower left corner is better.";
  return section("pareto", "Choices", hint, legend, holder, table, all);
}

function drawPareto(root, width, points, kind, shape) {
  const small = width < 560,
    grow = (values, f) => [Math.min(...values) / f, Math.max(...values) * f];
  const [x0, x1] = grow(
      points.map(c => c.seconds),
      1.35,
    ),
    [y0, y1] = grow(
      points.map(c => c.joules),
      1.35,
    );
  const ticks = (a, b) => {
    const found = decades(a, b, 7);
    return found.length > 2 ? found : logTicks(a, b);
  };
  const yTicks = ticks(y0, y1),
    box = { left: widest(yTicks.map(joules)) + 12, right: width - 10, top: 20, bottom: small ? 320 : 400, width };
  const x = logarithmic(x0, x1, box.left, box.right),
    y = logarithmic(y0, y1, box.bottom, box.top);
  xAxis(root, ticks(x0, x1), x, box, seconds, "time per item");
  yAxis(root, yTicks, y, box, joules, "energy per item");
  const placed = points.map(c => ({ c, x: x(c.seconds), y: y(c.joules), r: 5 }));
  for (const p of [...placed].sort((a, b) => Number(a.c.best) - Number(b.c.best))) {
    const style = p.c.best ? `dot f-${kind(p.c)}` : `open s-${kind(p.c)}`;
    root.append(
      svg("path", {
        class: `choice ${style}`,
        d: shape(p.c)(p.c.best ? 6.5 : 4.5),
        transform: `translate(${p.x.toFixed(1)} ${p.y.toFixed(1)})`,
        "fill-opacity": p.c.best ? 0.9 : 0,
        opacity: p.c.best ? 1 : 0.65,
      }),
    );
  }
  const ring = svg("circle", { class: "whisker", r: 10, visibility: "hidden" });
  root.append(ring);
  nearestPoint(
    root,
    () => placed,
    { distance: 22 },
    (i, px, py) => {
      const c = placed[i].c;
      ring.setAttribute("cx", placed[i].x);
      ring.setAttribute("cy", placed[i].y);
      ring.setAttribute("visibility", "visible");
      showTip(
        root,
        px,
        py,
        `${c.target}, ${c.precision}, batch ${c.batch}`,
        [
          ["time per item", seconds(c.seconds)],
          ["latency", seconds(c.latency)],
          ["energy per item", joules(c.joules)],
          ["bits", plain(c.bits)],
        ],
        c.best ? "nothing beats it" : "",
      );
    },
    () => ring.setAttribute("visibility", "hidden"),
  );
  return box.bottom + 38;
}
function logTicks(low, high) {
  const found = [];
  for (let e = Math.floor(Math.log10(low)); e <= Math.log10(high); e++)
    for (const m of [1, 2, 5]) if (m * 10 ** e >= low && m * 10 ** e <= high) found.push(m * 10 ** e);
  return found;
}
