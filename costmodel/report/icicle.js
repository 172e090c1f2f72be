// Where time, energy or bytes go: module scopes over layers over operators, one below the other; a click zooms.
const METRICS = {
  time: ["time", n => n.seconds.map(s => s[1]), seconds],
  energy: ["energy", n => n.joules, joules],
  bytes: ["bytes of operands", n => n.bytes, bytes],
  macs: ["multiply-accumulates", n => n.macs, v => si(v, "MAC")],
};

function icicleSection(target, graph) {
  const n = target.nodes,
    metrics = Object.keys(METRICS).filter(m => sum(METRICS[m][1](n)) > 0);
  if (!metrics.length) return null;
  const state = { metric: metrics[0], path: [] };
  const crumbs = html("div", { class: "crumbs" });
  const show = path => {
    state.path = path;
    redraw(holder);
    const cell = holder.querySelector(".cell");
    if (cell) cell.focus({ preventScroll: true });
  };
  const holder = chart(`Breakdown of ${target.target} by module and operator; the table below has the same figures`, (root, width) => {
    const tree = breakdown(target, graph, METRICS[state.metric][1](n));
    const trail = [tree];
    for (const name of state.path) {
      const next = trail[trail.length - 1].children.find(c => c.name === name);
      if (!next) break;
      trail.push(next);
    }
    state.path = trail.slice(1).map(t => t.name);
    crumbs.replaceChildren(
      ...trail.flatMap((place, k) => {
        const last = k === trail.length - 1,
          text = `${place.name} ${METRICS[state.metric][2](place.value)}`;
        const piece = last
          ? html("b", {}, text)
          : html("button", { type: "button", onclick: () => show(state.path.slice(0, k)) }, place.name);
        return k ? [html("span", { class: "dim", "aria-hidden": "true" }, "›"), piece] : [piece];
      }),
    );
    return drawIcicle(
      root,
      width,
      target,
      graph,
      trail[trail.length - 1],
      tree,
      METRICS[state.metric][2],
      names => show([...state.path, ...names]),
      () => show(state.path.slice(0, -1)),
    );
  });
  const controls = html(
    "div",
    { class: "controls" },
    choice(
      "share of",
      metrics.map(m => [m, METRICS[m][0]]),
      state.metric,
      v => {
        state.metric = v;
        redraw(holder);
      },
    ),
  );
  const rows = () =>
    flatten(breakdown(target, graph, METRICS[state.metric][1](n)), 0).map(([depth, place, whole]) => [
      "\u2003".repeat(depth) + place.name,
      METRICS[state.metric][2](place.value),
      percent(place.value / whole),
    ]);
  const table = tableOf(
    "Table of the breakdown",
    [
      ["part", "id"],
      ["amount", "n"],
      ["share", "n"],
    ],
    rows,
  );
  const hint =
    "Width is the share; each row divides the one above: modules, then layers, then operators. " +
    "Click a part to zoom in, the names above to zoom out.";
  return section("breakdown", "Breakdown", hint, controls, crumbs, holder, table);
}

// scopes with one child are one place; kernels without any scope are gathered by their class
function breakdown(target, graph, values) {
  const root = { name: DATA.model, value: 0, children: [], bounds: {} },
    places = new Map([[-1, root]]);
  const make = (parent, name) => {
    const place = { name, value: 0, children: [], bounds: {} };
    parent.children.push(place);
    return place;
  };
  graph.scopes.forEach(([parent, name], i) =>
    places.set(i, make(places.get(parent), name.startsWith("_empty_nn_module") ? "(no module)" : name)),
  );
  const flat = !graph.scopes.length,
    classes = new Map();
  values.forEach((value, i) => {
    if (!(value > 0)) return;
    let parent = places.get(graph.scope[i]);
    if (flat && graph.kernel[i]) {
      if (!classes.has(graph.kernel[i])) classes.set(graph.kernel[i], make(root, graph.kernel[i]));
      parent = classes.get(graph.kernel[i]);
    }
    parent.children.push({
      name: graph.name[i].split("/").pop() || graph.name[i],
      value,
      children: [],
      node: i,
      bounds: { [target.nodes.bound[i]]: value },
    });
  });
  return gather(root);
}
function gather(place) {
  if (place.node !== undefined) return place;
  place.children = place.children.map(gather).filter(c => c.value > 0);
  place.value = sum(place.children.map(c => c.value));
  for (const child of place.children) for (const [b, v] of Object.entries(child.bounds)) place.bounds[b] = (place.bounds[b] || 0) + v;
  const only = place.children[0];
  if (place.children.length === 1 && only.node === undefined)
    return { ...only, name: place.name === DATA.model ? place.name : `${place.name}/${only.name}` };
  if (place.children.length === 1 && place.name !== DATA.model) return { ...only, name: `${place.name}/${only.name}` };
  return place;
}
function flatten(place, depth, whole) {
  whole = whole || place.value || 1;
  return [[depth, place, whole], ...place.children.flatMap(c => flatten(c, depth + 1, whole))];
}
const deepest = place => 1 + Math.max(0, ...place.children.map(deepest));
const mainBound = place => Object.entries(place.bounds).reduce((a, b) => (b[1] > a[1] ? b : a), ["", 0])[0];

function drawIcicle(root, width, target, graph, focus, whole, show, zoom, out) {
  const row = 36;
  root.setAttribute("role", "group");
  const put = (place, x, w, depth, names) => {
    const leaf = place.node !== undefined,
      kind = slot(target, mainBound(place));
    const share = place.value / (whole.value || 1),
      described = `${place.name}: ${show(place.value)}, ${percent(share)}`;
    const group = svg("g", {});
    const cell = svg("rect", {
      class: `cell f-${kind}`,
      x: x.toFixed(2),
      y: depth * row,
      width: Math.max(w - 0.3, 0.4).toFixed(2),
      height: row,
      "fill-opacity": leaf ? 0.5 : 0.22,
      tabindex: depth === 0 ? "0" : "-1",
      role: "button",
      "aria-label": described,
      "data-name": place.name,
      "data-depth": depth,
      "data-node": leaf ? place.node : null,
    });
    group.append(cell);
    if (w > 44) {
      const title = clip(leaf ? `${place.name} · ${graph.op[place.node]}` : place.name, w - 10);
      group.append(svg("text", { x: x + 6, y: depth * row + 15, "pointer-events": "none" }, title));
      const value = `${show(place.value)} · ${percent(share)}`;
      const figures = textWidth(value, 11) < w - 10 ? value : textWidth(percent(share), 11) < w - 10 ? percent(share) : "";
      if (title)
        group.append(svg("text", { class: "soft", x: x + 6, y: depth * row + 29, "font-size": 11, "pointer-events": "none" }, figures));
    }
    const explain = (px, py) => {
      if (leaf) {
        const [h, r, note] = nodeFacts(target, graph, place.node);
        mark(place.node);
        showTip(root, px, py, h, r, note);
        return;
      }
      mark(null);
      const main = Object.entries(place.bounds)
        .sort((a, b) => b[1] - a[1])
        .slice(0, 3)
        .map(([b, v]) => `${boundText(b)} ${percent(v / place.value)}`)
        .join(", ");
      showTip(root, px, py, place.name, [
        ["share", `${show(place.value)}, ${percent(share)}`],
        ["bound by", main],
        ["parts", String(place.children.length)],
      ]);
    };
    const act = e => {
      if (leaf) {
        const box = cell.getBoundingClientRect();
        explain(e.clientX || box.left, e.clientY || box.top);
        return;
      }
      hideTip(root);
      if (depth === 0) out();
      else zoom(names);
    };
    cell.addEventListener("click", act);
    cell.addEventListener("pointermove", e => {
      if (e.pointerType === "mouse") explain(e.clientX, e.clientY);
    });
    cell.addEventListener("keydown", e => {
      if (e.key === "Enter" || e.key === " ") {
        e.preventDefault();
        act(e);
      }
    });
    root.append(group);
    let at = x;
    for (const child of place.children) {
      const part = (w * child.value) / (place.value || 1);
      if (part >= 0.35) put(child, at, part, depth + 1, depth === 0 ? [child.name] : [...names, child.name]);
      at += part;
    }
  };
  put(focus, 0, width, 0, []);
  root.addEventListener("pointerleave", e => {
    if (e.pointerType === "mouse") {
      hideTip(root);
      mark(null);
    }
  });
  root.addEventListener("keydown", e => walk(e, root));
  return deepest(focus) * row + 2;
}

// arrow keys go to the neighbour, the parent, and the first part
function walk(event, root) {
  const cell = event.target.closest(".cell");
  if (!cell || !event.key.startsWith("Arrow")) return;
  event.preventDefault();
  const cells = [...root.querySelectorAll(".cell")],
    number = (c, name) => Number(c.getAttribute(name)),
    depth = number(cell, "data-depth"),
    x = number(cell, "x");
  const row = d => cells.filter(c => number(c, "data-depth") === d);
  const same = row(depth),
    at = same.indexOf(cell);
  const next = {
    ArrowRight: () => same[at + 1],
    ArrowLeft: () => same[at - 1],
    ArrowDown: () => row(depth + 1).find(c => number(c, "x") >= x - 0.5),
    ArrowUp: () =>
      row(depth - 1)
        .reverse()
        .find(c => number(c, "x") <= x + 0.5),
  }[event.key]();
  if (next) {
    cell.setAttribute("tabindex", "-1");
    next.setAttribute("tabindex", "0");
    next.focus();
  }
}
