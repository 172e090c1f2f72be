// The page: one target at a time.
const SECTIONS = [
  summarySection,
  adviceSection,
  rooflineSection,
  layersSection,
  icicleSection,
  memorySection,
  energySection,
  sweepsSection,
  phasesSection,
  precisionSection,
  paretoSection,
  fusionSection,
  notesSection,
];
const SHORT = {
  summary: "Summary",
  advice: "Advice",
  roofline: "Roofline",
  layers: "Layers",
  breakdown: "Breakdown",
  memory: "Memory",
  energy: "Energy",
  sweeps: "Sweeps",
  phases: "Generation",
  precision: "Precision",
  pareto: "Choices",
  fusion: "Fusion",
};
const main = document.getElementById("main"),
  bar = document.getElementById("bar"),
  cards = [...document.querySelectorAll("[data-target]")];

function showTarget(index) {
  const target = DATA.targets[index],
    graph = DATA.graphs[target.graph];
  hideTip();
  charts.length = 0;
  const sections = SECTIONS.map(build => build(target, graph)).filter(Boolean);
  main.replaceChildren(...sections);
  cards.forEach((card, i) => card.setAttribute("aria-pressed", String(i === index)));
  const links = sections.filter(s => SHORT[s.id]).map(s => html("a", { href: `#${s.id}` }, SHORT[s.id]));
  const choose =
    DATA.targets.length > 1
      ? html(
          "span",
          { class: "switch" },
          html(
            "select",
            {
              "aria-label": "target",
              onchange: e => {
                showTarget(Number(e.target.value));
                bar.querySelector("select").focus();
              },
            },
            DATA.targets.map((t, i) => html("option", { value: i, selected: i === index }, label(t, i))),
          ),
        )
      : null;
  bar.replaceChildren(html("div", {}, choose, html("div", { class: "links" }, links)));
  drawCharts(true);
}
// targets of one name differ by engine
function label(target, index) {
  const twin = DATA.targets.some((t, i) => i !== index && t.target === target.target);
  return twin ? `${target.target} (${target.engine})` : target.target;
}
cards.forEach((card, i) => card.addEventListener("click", () => showTarget(i)));
let pending = 0;
window.addEventListener("resize", () => {
  cancelAnimationFrame(pending);
  pending = requestAnimationFrame(() => drawCharts(false));
});
showTarget(0);
