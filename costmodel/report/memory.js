// Activations alive over the schedule, with weights and capacities.
function memorySection(target, graph) {
  const n = target.nodes,
    levels = target.roofline.levels || [];
  if (n.live.length < 2 || !n.live.some(v => v > 0)) return null;
  const holder = chart(
    `Activations alive over the schedule of ${target.target}, at most ${bytes(target.peak_bytes)}; the table below has the same figures`,
    (root, width) => drawMemory(root, width, target, graph),
  );
  const capacity = levels.length ? levels[levels.length - 1].bytes : 0,
    need = target.peak_bytes + target.weight_bytes;
  const fits = capacity
    ? ` Together with the weights ${bytes(need)} are needed at most, ${percent(need / capacity)} of ${levels[levels.length - 1].name}.`
    : "";
  const table = tableOf(
    "Table of live activations",
    [
      ["step", "n"],
      ["node", "id"],
      ["operator", "id"],
      ["alive", "n"],
    ],
    () => n.live.map((v, i) => [String(i + 1), graph.name[i], graph.op[i], bytes(v)]),
  );
  return section(
    "memory",
    "Memory over time",
    `Activations alive while each node runs, in the order of the schedule.${fits}`,
    holder,
    table,
  );
}

function drawMemory(root, width, target, graph) {
  const live = target.nodes.live,
    peak = Math.max(...live),
    at = live.indexOf(peak),
    levels = target.roofline.levels || [],
    last = levels.length - 1;
  const lines = levels.map((l, i) => ({
    value: l.bytes,
    text: `${i === last ? "capacity of " : ""}${l.name} ${bytes(l.bytes)}`,
    kind: slot(target, l.name),
    type: i === last ? "capacity" : "cache",
  }));
  lines.push({ value: target.weight_bytes, text: `weights ${bytes(target.weight_bytes)}`, kind: "compute", type: "weights" });
  if (target.kv_bytes)
    lines.push({ value: target.kv_bytes, text: `keys and values ${bytes(target.kv_bytes)}`, kind: "dispatch", type: "cache" });
  const shown = lines.filter(l => l.value > 0);
  const near = shown.filter(l => l.value <= peak * (l.type === "weights" ? 3 : 1.6)),
    far = shown.filter(l => !near.includes(l));
  const top = Math.max(peak, ...near.map(l => l.value)) * 1.12,
    ticks = niceTicks(0, top, 5);
  const box = { left: widest(ticks.map(bytes)) + 12, right: width - 10, top: 16 + 18 * far.length, bottom: 0, width };
  box.bottom = box.top + (width < 560 ? 230 : 280);
  const x = linear(0, live.length, box.left, box.right),
    y = linear(0, top, box.bottom, box.top);
  far
    .sort((a, b) => b.value - a.value)
    .forEach((l, k) => {
      root.append(
        svg(
          "text",
          { class: "off-scale", "data-line": l.type, x: box.right, y: 13 + 18 * k, "text-anchor": "end" },
          svg("tspan", { class: `f-${l.kind}` }, "▲ "),
          `${l.text}, above this scale`,
        ),
      );
    });
  yAxis(root, ticks, y, box, bytes, "");
  xAxis(root, niceTicks(0, live.length, width < 560 ? 4 : 8), x, box, String, "step of the schedule");
  const steps = live.map((v, i) => `V${y(v).toFixed(1)}H${x(i + 1).toFixed(1)}`).join("");
  root.append(svg("path", { class: "live f-compute", "fill-opacity": 0.28, d: `M${box.left} ${box.bottom}${steps}V${box.bottom}Z` }));
  root.append(svg("path", { class: "outline s-compute", d: `M${box.left} ${box.bottom}${steps}` }));
  for (const l of near)
    root.append(svg("path", { class: `limit s-${l.kind}`, "data-line": l.type, d: `M${box.left} ${y(l.value).toFixed(1)}H${box.right}` }));
  const labels = near.map(l => ({ at: y(l.value) - 5, text: l.text, kind: l.kind }));
  for (const l of spread(labels, 15, box.top + 8, box.bottom - 4)) {
    root.append(
      svg(
        "text",
        { class: "halo", x: box.right - 2, y: l.placed, "text-anchor": "end" },
        svg("tspan", { class: `f-${l.kind}` }, "▬ "),
        l.text,
      ),
    );
  }
  const note = clip(`peak ${bytes(peak)}`, 200),
    half = textWidth(note) / 2,
    px = Math.min(Math.max(x(at + 0.5), box.left + half + 2), box.right - half - 2);
  root.append(svg("circle", { cx: x(at + 0.5), cy: y(peak), r: 4, class: "f-compute" }));
  const crowded = labels.some(l => Math.abs(l.placed - (y(peak) - 9)) < 13 && px + half > box.right - textWidth(l.text) - 24);
  root.append(svg("text", { class: "halo", x: px, y: y(peak) + (crowded ? 18 : -9), "text-anchor": "middle" }, note));
  const cursor = svg("line", { class: "cursor", y1: box.top, y2: box.bottom, visibility: "hidden" });
  root.append(cursor);
  nearestPoint(
    root,
    () => live.map((_, i) => ({ x: x(i + 0.5), y: y(live[i]) })),
    { x: true, distance: 40 },
    (i, cx, cy) => {
      cursor.setAttribute("x1", x(i + 0.5));
      cursor.setAttribute("x2", x(i + 0.5));
      cursor.setAttribute("visibility", "visible");
      showTip(root, cx, cy, `${graph.name[i]} · ${graph.op[i]}`, [
        ["step", `${i + 1} of ${live.length}`],
        ["alive", bytes(live[i])],
        ["with weights", bytes(live[i] + target.weight_bytes)],
      ]);
    },
    () => cursor.setAttribute("visibility", "hidden"),
  );
  return box.bottom + 38;
}
