// The hierarchical roofline: a roof for every memory level and peak, a dot for every node.
function rooflineSection(target, graph) {
  const levels = target.roofline.levels || [],
    peaks = Object.entries(target.roofline.peaks || {}),
    n = target.nodes;
  if (!levels.length || !peaks.length || !n.seconds.length) return null;
  const hidden = new Set(),
    state = { level: "" };
  const bounds = boundOrder(
    target,
    n.bound.filter((_, i) => n.seconds[i][1] > 0),
  );
  const holder = chart(
    `Roofline of ${target.target}: rate over operational intensity of ${n.seconds.length} nodes, ` +
      `with ${levels.length} memory roofs and ${peaks.length} peaks; the table below has the same figures`,
    (root, width) => drawRoofline(root, width, target, graph, state.level, hidden),
  );
  const roofs = html(
    "ul",
    { class: "legend roofs" },
    levels.map(l =>
      html("li", {}, html("span", { class: "item" }, html("span", { class: `stroke b-${slot(target, l.name)}` }), memoryText(l))),
    ),
  );
  const legend = html(
    "ul",
    { class: "legend" },
    bounds.map(bound => {
      const share = (target.bound_shares || {})[bound];
      const button = html(
        "button",
        { type: "button", "aria-pressed": "true" },
        swatch(slot(target, bound)),
        `${boundText(bound)}${share ? ` ${percent(share)}` : ""}`,
      );
      button.addEventListener("click", () => {
        const off = hidden.has(bound);
        if (off) hidden.delete(bound);
        else hidden.add(bound);
        button.setAttribute("aria-pressed", String(off));
        redraw(holder);
      });
      return html("li", {}, button);
    }),
  );
  const options = [["", "the level that takes longest"], ...levels.map(l => [l.name, l.name]), ["operands", "operands, each once"]];
  const controls = html(
    "div",
    { class: "controls" },
    choice("bytes of", options, "", v => {
      state.level = v;
      redraw(holder);
    }),
  );
  const rows = () =>
    n.seconds.map((s, i) => [
      graph.name[i],
      graph.op[i],
      boundText(n.bound[i]),
      showIntensity(intensity(target, i, "")),
      s[1] ? si(n.flops[i] / s[1], "FLOP/s") : "–",
      seconds(s[1]),
      n.evidence[i],
    ]);
  const table = tableOf(
    "Table of all nodes",
    [
      ["node", "id"],
      ["operator", "id"],
      ["bound by", ""],
      ["intensity, FLOP/B", "n"],
      ["rate", "n"],
      ["time", "n"],
      ["why", "id"],
    ],
    rows,
  );
  const hint =
    "The area of a dot is the node's time, its colour what bounds it. " +
    "A slanted roof is a memory level's bandwidth, a flat one a peak of arithmetic. Point at a dot or tap it.";
  return section("roofline", "Roofline", hint, controls, legend, narrow() ? roofs : null, holder, table);
}
const showIntensity = v => (v === null ? "–" : plain(v));

function intensity(target, i, level) {
  const n = target.nodes,
    name = level || n.level[i];
  const moved = name === "operands" || !n.traffic[name] ? n.bytes[i] : n.traffic[name][i];
  return moved && n.flops[i] ? n.flops[i] / moved : null;
}

function drawRoofline(root, width, target, graph, level, hidden) {
  const n = target.nodes,
    small = width < 560,
    levels = target.roofline.levels;
  const used = new Set(n.dtype.filter((_, i) => n.macs[i] > 0));
  const dots = n.seconds.map((s, i) => ({
    i,
    seconds: s[1],
    intensity: intensity(target, i, level),
    rate: s[1] > 0 ? n.flops[i] / s[1] : 0,
  }));
  const placed = dots.filter(d => d.intensity !== null && d.rate > 0);
  const aside = dots.filter(d => d.intensity === null || d.rate <= 0);
  const peaks = mergedPeaks(target.roofline.peaks),
    top = Math.max(...peaks.map(p => p.rate), ...placed.map(d => d.rate)) * 2.2;
  const ridges = levels.map(l => Math.max(...peaks.map(p => p.rate)) / l.bandwidth);
  const xs = [...placed.map(d => d.intensity), Math.max(...ridges) * 3, 0.3];
  const x0 = Math.max(Math.min(...xs) / 1.8, Math.max(...xs) / 1e9),
    x1 = Math.max(...xs) * 1.6;
  const y0 = Math.max(Math.min(...placed.map(d => d.rate), ...levels.map(l => l.bandwidth * x0)) / 2, top / 1e10),
    y1 = top;
  const lane = aside.length ? 40 : 0,
    plot = small ? 330 : 430;
  const margin = widest(peaks.map(p => peakText(p, small))) + 10;
  const left = small ? 46 : 50,
    box = { left, right: width - margin, top: 24, bottom: 24 + plot, width };
  // on wide screens the names of the roofs have a strip of their own at the left
  const strip = small ? 0 : widest(levels.map(memoryText)) + 26;
  const x = logarithmic(x0, x1, box.left + strip, box.right),
    edge = 10 ** (Math.log10(x0) - (strip / (box.right - box.left - strip)) * Math.log10(x1 / x0));
  const y = logarithmic(y0, y1, box.bottom, box.top);
  xAxis(
    root,
    decades(x0, x1, small ? 6 : 10),
    x,
    box,
    v => (v >= 1 && v < 1e4 ? String(v) : v < 1 && v >= 1e-3 ? String(v) : v.toExponential(0)),
    "operational intensity, FLOP/B",
  );
  yAxis(root, decades(y0, y1, 9), y, box, v => si(v, ""), "FLOP/s");
  drawRoofs(root, target, peaks, used, { x0: edge, x1, y0, y1 }, x, y, box, small);
  const most = Math.max(...n.seconds.map(s => s[1])) || 1,
    large = small ? 11 : 15,
    points = [];
  const radius = d => (d.seconds > 0 ? Math.max(2.6, large * Math.sqrt(d.seconds / most)) : 2.2);
  const base = box.bottom + 42 + lane / 2;
  aside.forEach((d, k) => {
    d.x = box.left + 8 + (box.right - box.left - 16) * (aside.length > 1 ? k / (aside.length - 1) : 0.5);
    d.y = base;
  });
  for (const d of placed) {
    d.x = Math.max(x(d.intensity), box.left + strip);
    d.y = Math.min(y(d.rate), box.bottom);
  }
  if (lane) {
    root.append(svg("line", { class: "grid", x1: box.left, x2: box.right, y1: base, y2: base }));
    root.append(
      svg(
        "text",
        { class: "soft", x: box.left, y: base + 24 },
        clip(
          `${aside.length} without arithmetic, or without bytes at this level${small ? "" : ", in the order of the schedule"}`,
          width - box.left,
        ),
      ),
    );
  }
  const layer = svg("g", {});
  for (const d of [...dots].sort((a, b) => b.seconds - a.seconds)) {
    const off = hidden.has(n.bound[d.i]),
      kind = d.seconds > 0 ? `f-${slot(target, n.bound[d.i])}` : "free";
    d.r = radius(d);
    layer.append(
      svg("circle", {
        class: `dot ${kind}`,
        "data-node": d.i,
        cx: d.x.toFixed(1),
        cy: d.y.toFixed(1),
        r: d.r.toFixed(1),
        opacity: off ? 0.08 : null,
      }),
    );
    if (!off) points.push(d);
  }
  root.append(layer);
  nearestPoint(
    root,
    () => points,
    { distance: small ? 26 : 14 },
    (k, px, py) => {
      const [head, rows, note] = nodeFacts(target, graph, points[k].i);
      rows.push(["intensity", points[k].intensity === null ? "–" : `${plain(points[k].intensity)} FLOP/B`]);
      mark(points[k].i);
      showTip(root, px, py, head, rows, note);
    },
    () => mark(null),
  );
  return box.bottom + 40 + (lane ? lane + 18 : 0);
}

// element types with the same peak share a roof
function mergedPeaks(peaks) {
  const found = [];
  for (const [dtype, rate] of Object.entries(peaks)) {
    const same = found.find(p => Math.abs(p.rate / rate - 1) < 1e-6);
    if (same) same.dtypes.push(dtype);
    else found.push({ rate, dtypes: [dtype] });
  }
  return found.sort((a, b) => b.rate - a.rate);
}

const memoryText = level => `${level.name} ${si(level.bandwidth, "B/s")}`;
const peakText = (peak, small) => `${peak.dtypes.join(", ")} ${si(peak.rate, small ? "" : "FLOP/s")}`;

function drawRoofs(root, target, peaks, used, domain, x, y, box, small) {
  const levels = target.roofline.levels,
    fastest = Math.max(...levels.map(l => l.bandwidth)),
    highest = peaks[0].rate;
  const flat = peaks.map(p => ({ ...p, at: y(p.rate), serves: p.dtypes.some(d => used.has(d)) }));
  if (!flat.some(p => p.serves)) flat.forEach(p => (p.serves = true)); // another type's rate stands in
  for (const p of flat) {
    const from = Math.max(p.rate / fastest, domain.x0);
    root.append(
      svg("path", {
        class: `roof peak ${p.serves ? "" : "unused"}`,
        "data-roof": p.dtypes.join(" "),
        d: `M${x(from).toFixed(1)} ${y(p.rate).toFixed(1)}H${box.right + 2}`,
      }),
    );
  }
  const slanted = levels.map(l => {
    const from = Math.max(domain.x0, domain.y0 / l.bandwidth),
      to = highest / l.bandwidth;
    root.append(
      svg("path", {
        class: `roof memory s-${slot(target, l.name)}`,
        "data-roof": l.name,
        d: `M${x(from).toFixed(1)} ${y(l.bandwidth * from).toFixed(1)}L${x(to).toFixed(1)} ${y(highest).toFixed(1)}`,
      }),
    );
    return {
      text: small ? l.name : memoryText(l),
      kind: slot(target, l.name),
      x: small ? x(to) : x(from) + 3,
      at: small ? x(to) : y(l.bandwidth * from),
    };
  });
  if (small) {
    for (const s of slanted) s.size = textWidth(s.text);
    for (const s of spread(slanted, 5, box.left, box.right))
      root.append(svg("text", { x: s.placed, y: y(highest) - 6, "text-anchor": "middle" }, s.text));
  } else {
    for (const s of spread(slanted, 16, box.top + 10, box.bottom - 4)) {
      root.append(svg("rect", { class: "plate", x: s.x - 2, y: s.placed - 9, width: textWidth(`▬ ${s.text}`) + 6, height: 15, rx: 3 }));
      root.append(svg("text", { x: s.x, y: s.placed + 3 }, svg("tspan", { class: `f-${s.kind}` }, "▬ "), s.text));
    }
  }
  for (const p of spread(flat, 15, box.top, box.bottom)) {
    root.append(svg("text", { class: p.serves ? "" : "soft", x: box.right + 6, y: p.placed + 4 }, peakText(p, small)));
  }
}
