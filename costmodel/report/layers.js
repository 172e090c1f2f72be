// A bar for every node in the order of the schedule, with its interval; and the layers of transformers.
function layersSection(target, graph) {
  const n = target.nodes;
  if (!n.seconds.length) return null;
  const timed = n.seconds.map((_, i) => i).filter(i => n.seconds[i][1] > 0);
  const state = { op: "", order: "schedule", word: "" };
  const byOp = new Map();
  for (const i of timed) byOp.set(graph.op[i], (byOp.get(graph.op[i]) || 0) + n.seconds[i][1]);
  const ops = [...byOp].sort((a, b) => b[1] - a[1]);
  const count = html("p", { class: "hint", role: "status" });
  const holder = chart(
    `Time of ${timed.length} nodes of ${target.target} in the order of the schedule; the table below has the same figures`,
    (root, width) => {
      const chosen = timed.filter(
        i =>
          (!state.op || graph.op[i] === state.op) && (!state.word || `${graph.name[i]} ${graph.op[i]}`.toLowerCase().includes(state.word)),
      );
      if (state.order === "time") chosen.sort((a, b) => n.seconds[b][1] - n.seconds[a][1]);
      const total = sum(chosen.map(i => n.seconds[i][1]));
      const share = percent(total / target.seconds[1]);
      count.textContent =
        `${plural(chosen.length, "node")}, ${seconds(total)}, ${share} of the time. ` +
        "Whiskers are intervals; an arrow leads out of the picture.";
      return drawBars(root, width, target, graph, chosen);
    },
  );
  const find = html("input", {
    type: "search",
    placeholder: "name or operator",
    "aria-label": "filter by name or operator",
    oninput: e => {
      state.word = e.target.value.trim().toLowerCase();
      redraw(holder);
    },
  });
  const controls = html(
    "div",
    { class: "controls" },
    choice("operator", [["", "all"], ...ops.map(([op, time]) => [op, `${op} (${seconds(time)})`])], "", v => {
      state.op = v;
      redraw(holder);
    }),
    choice(
      "order",
      [
        ["schedule", "schedule"],
        ["time", "longest first"],
      ],
      "schedule",
      v => {
        state.order = v;
        redraw(holder);
      },
    ),
    find,
  );
  const rows = () =>
    timed.map(i => [
      graph.name[i],
      graph.op[i],
      ...n.seconds[i].map(seconds),
      boundText(n.bound[i]),
      joules(n.joules[i]),
      bytes(n.bytes[i]),
    ]);
  const table = tableOf(
    "Table of all nodes",
    [
      ["node", "id"],
      ["operator", "id"],
      ["low", "n"],
      ["expected", "n"],
      ["high", "n"],
      ["bound by", ""],
      ["energy", "n"],
      ["operands", "n"],
    ],
    rows,
  );
  return section("layers", "Time by layer", null, controls, count, html("div", { class: "frame" }, holder), table, blocks(target));
}

function drawBars(root, width, target, graph, chosen) {
  const n = target.nodes,
    small = width < 560,
    row = small ? 40 : 24,
    head = 24;
  if (!chosen.length) {
    root.append(svg("text", { class: "soft", x: 12, y: 24 }, "no node fits the filter"));
    return 40;
  }
  const label = small ? 10 : Math.min(330, width * 0.34),
    right = width - (small ? 76 : 84);
  const most = Math.max(...chosen.map(i => n.seconds[i][1])),
    limit = Math.max(most * 1.05, Math.min(Math.max(...chosen.map(i => n.seconds[i][2])), most * 2.2));
  const x = linear(0, limit, label, right),
    height = head + chosen.length * row + 6;
  for (const tick of niceTicks(0, limit, small ? 3 : 6)) {
    root.append(svg("line", { class: "grid", x1: x(tick), x2: x(tick), y1: head, y2: height }));
    if (x(tick) < right + 30)
      root.append(svg("text", { class: "soft", x: Math.max(x(tick), 12), y: 15, "text-anchor": "middle" }, seconds(tick)));
  }
  chosen.forEach((i, k) => {
    const top = head + k * row,
      s = n.seconds[i],
      y = small ? top + 22 : top + 6,
      tall = 12;
    const group = svg("g", { class: "row", "data-node": i }, svg("rect", { class: "back", x: 0, y: top, width, height: row }));
    const op = graph.op[i],
      room = (small ? width - 86 : label - 8) - 18;
    const name = clip(graph.name[i], Math.max(room - textWidth(op), room * 0.55));
    const place = small ? top + 15 : top + 16;
    group.append(svg("text", { x: 10, y: place }, name));
    const start = 10 + textWidth(name) + 8;
    group.append(svg("text", { class: "soft", x: start, y: place }, clip(op, (small ? width - 86 : label - 8) - start)));
    group.append(
      svg("rect", {
        class: `bar f-${slot(target, n.bound[i])}`,
        x: label,
        y,
        width: Math.max(x(s[1]) - label, 1),
        height: tall,
        rx: 2,
        "fill-opacity": 0.85,
      }),
    );
    const end = Math.min(x(s[2]), right + 4),
      middle = y + tall / 2,
      cut = x(s[2]) > right + 4;
    const tipPath = cut ? `M${end - 4} ${middle - 4}L${end} ${middle}L${end - 4} ${middle + 4}` : `M${end} ${middle - 4}V${middle + 4}`;
    group.append(
      svg("path", {
        class: "whisker",
        d: `M${x(s[0]).toFixed(1)} ${middle - 4}V${middle + 4}M${x(s[0]).toFixed(1)} ${middle}H${end.toFixed(1)}${tipPath}`,
      }),
    );
    group.append(svg("text", { x: width - 10, y: place, "text-anchor": "end" }, seconds(s[1])));
    root.append(group);
  });
  nearestPoint(
    root,
    () => chosen.map((_, k) => ({ x: label, y: head + (k + 0.5) * row })),
    { y: true, distance: row },
    (k, px, py) => {
      const [h, r, note] = nodeFacts(target, graph, chosen[k]);
      mark(chosen[k]);
      showTip(root, px, py, h, r, note);
    },
    () => mark(null),
  );
  return height;
}

// -- layers of transformers, each divided into its parts
function blocks(target) {
  const layers = Object.entries((target.layers || {}).layers || {});
  if (layers.length < 2) return null;
  const all = Object.keys(target.layers.groups).filter(g => layers.some(([, parts]) => parts[g]));
  const share = g => sum(layers.map(([, parts]) => parts[g] || 0)),
    groups = all.sort((a, b) => share(b) - share(a));
  const kinds = Object.fromEntries(groups.map((g, i) => [g, category(i)]));
  const totals = Object.fromEntries(groups.map(g => [g, share(g)]));
  const holder = chart(
    `Time of ${layers.length} layers of ${target.target} by their parts; the table below has the same figures`,
    (root, width) => {
      const left = Math.min(100, widest(layers.map(([name]) => name)) + 16),
        right = width - 76,
        row = 22;
      const x = linear(0, Math.max(...layers.map(([, parts]) => sum(Object.values(parts)))), left, right);
      layers.forEach(([name, parts], k) => {
        let at = left;
        root.append(svg("text", { x: left - 8, y: k * row + 15, "text-anchor": "end" }, clip(name, left - 10)));
        for (const g of groups) {
          if (!parts[g]) continue;
          const next = at + x(parts[g]) - left;
          root.append(
            svg(
              "rect",
              { class: `f-${kinds[g]}`, x: at, y: k * row + 4, width: Math.max(next - at - 1, 0.5), height: row - 7, "fill-opacity": 0.85 },
              svg("title", {}, `${name} ${g}: ${seconds(parts[g])}`),
            ),
          );
          at = next;
        }
        root.append(svg("text", { x: width - 2, y: k * row + 15, "text-anchor": "end" }, seconds(sum(Object.values(parts)))));
      });
      return layers.length * row + 6;
    },
  );
  const legend = html(
    "ul",
    { class: "legend" },
    groups.map(g => html("li", {}, html("span", { class: "item" }, swatch(kinds[g]), `${g} ${seconds(totals[g])}`))),
  );
  const table = tableOf("Table of the layers", [["layer", ""], ...groups.map(g => [g, "n"])], () =>
    layers.map(([name, parts]) => [name, ...groups.map(g => (parts[g] ? seconds(parts[g]) : ""))]),
  );
  return html(
    "div",
    { id: "blocks" },
    html("h3", { style: "margin-top:1.2rem" }, "Layers and their parts"),
    legend,
    holder,
    attentionParts(target),
    table,
  );
}
function attentionParts(target) {
  const parts = Object.entries((target.layers || {}).attention || {}).filter(([, v]) => v > 0);
  return parts.length ? html("p", { class: "hint" }, `Attention: ${parts.map(([name, v]) => `${name} ${seconds(v)}`).join(", ")}.`) : null;
}
