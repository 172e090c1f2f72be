// Explanations: beside the pointer, or as a sheet at the foot of a narrow screen.
const tip = document.getElementById("tip");
let tipOwner = null;

function showTip(owner, x, y, head, rows, note) {
  tipOwner = owner;
  tip.replaceChildren(html("b", {}, head));
  if (rows.length)
    tip.append(
      html(
        "table",
        {},
        html(
          "tbody",
          {},
          rows.map(([k, v]) => html("tr", {}, html("td", {}, k), html("td", {}, v))),
        ),
      ),
    );
  if (note) tip.append(html("p", {}, note));
  tip.hidden = false;
  tip.classList.toggle("sheet", narrow());
  if (narrow()) return;
  const box = tip.getBoundingClientRect();
  const left = x + 16 + box.width > window.innerWidth ? x - 16 - box.width : x + 16;
  tip.style.left = `${Math.max(4, left)}px`;
  tip.style.top = `${Math.min(Math.max(4, y - box.height / 2), window.innerHeight - box.height - 4)}px`;
}
function hideTip(owner) {
  if (!owner || owner === tipOwner) {
    tip.hidden = true;
    tipOwner = null;
  }
}
document.addEventListener("keydown", e => {
  if (e.key === "Escape") {
    hideTip();
    mark(null);
  }
});
document.addEventListener("pointerdown", e => {
  if (!e.target.closest("svg")) {
    hideTip();
    mark(null);
  }
});
window.addEventListener(
  "scroll",
  () => {
    if (!narrow()) hideTip();
  },
  { passive: true },
);

// the point of a chart that is nearest to the pointer, by mouse, finger, or arrow keys
function nearestPoint(root, points, reach, show, leave) {
  let held = -1;
  const find = e => {
    const box = root.getBoundingClientRect(),
      x = e.clientX - box.left,
      y = e.clientY - box.top;
    let best = -1,
      least = Infinity;
    points().forEach((p, i) => {
      const d = reach.x ? Math.abs(p.x - x) : reach.y ? Math.abs(p.y - y) : Math.hypot(p.x - x, p.y - y) - (p.r || 0);
      if (d < least) {
        least = d;
        best = i;
      }
    });
    return least <= reach.distance ? best : -1;
  };
  const open = (i, x, y) => {
    held = i;
    if (i < 0) {
      hideTip(root);
      leave();
    } else show(i, x, y);
  };
  root.addEventListener("pointermove", e => {
    if (e.pointerType === "mouse") open(find(e), e.clientX, e.clientY);
  });
  root.addEventListener("pointerleave", e => {
    if (e.pointerType === "mouse") open(-1);
  });
  root.addEventListener("click", e => open(find(e), e.clientX, e.clientY));
  root.setAttribute("tabindex", "0");
  root.addEventListener("keydown", e => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[e.key];
    if (!step || !points().length) return;
    e.preventDefault();
    const count = points().length,
      i = (Math.max(held, step > 0 ? -1 : 0) + step + count) % count,
      box = root.getBoundingClientRect();
    open(i, box.left + points()[i].x, box.top + points()[i].y);
  });
  root.addEventListener("blur", () => open(-1));
}

// the node that all charts point out
let marked = null;
function mark(index) {
  if (index === marked) return;
  marked = index;
  for (const one of document.querySelectorAll(".marked")) one.classList.remove("marked");
  for (const one of document.querySelectorAll(".row.chosen")) one.classList.remove("chosen");
  if (index === null) return;
  for (const one of document.querySelectorAll(`[data-node="${index}"]`)) {
    one.classList.add(one.classList.contains("row") ? "chosen" : "marked");
    if (one.classList.contains("dot")) one.parentNode.append(one); // in front of what would hide it
  }
}

function nodeFacts(target, graph, i) {
  const n = target.nodes,
    s = n.seconds[i],
    rows = [];
  rows.push(["time", `${seconds(s[1])} (${span(s, seconds)}), ${percent(s[1] / target.seconds[1])}`]);
  if (s[1] > 0) rows.push(["bound by", boundText(n.bound[i])]);
  if (n.flops[i]) rows.push(["work", `${si(n.flops[i], "FLOP")}${n.dtype[i] ? ` in ${n.dtype[i]}` : ""}`]);
  if (n.flops[i] && s[1] > 0) rows.push(["rate", si(n.flops[i] / s[1], "FLOP/s")]);
  if (n.bytes[i]) rows.push(["operands", bytes(n.bytes[i])]);
  const moved = Object.entries(n.traffic)
    .filter(([, v]) => v[i])
    .map(([name, v]) => `${name} ${bytes(v[i])}`);
  if (moved.length) rows.push(["traffic", moved.join(", ")]);
  if (n.joules[i]) rows.push(["energy", joules(n.joules[i])]);
  const notes = [n.evidence[i], n.known[i] ? "" : "unknown operator: the interval is wide"].filter(Boolean);
  return [`${graph.name[i]} · ${graph.op[i]}`, rows, notes.join("; ")];
}
