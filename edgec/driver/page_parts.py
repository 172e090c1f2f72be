"""Style and behaviour of the capability pages, beside what all pages share."""

from __future__ import annotations

STYLE = """
:root { --native: #1b7f4d; --partial: #9a6700; --decomposed: #0b6bbd;
  --exact: #5b4bc4; --approximate: #b3541e; --other: #8a3ab0; --none: #c22f3d; }
@media (prefers-color-scheme: dark) { :root { --native: #4cc38a; --partial: #e3b341; --decomposed: #58a6ff;
  --exact: #a99bff; --approximate: #f0975c; --other: #d28cf0; --none: #ff7b86; } }
body { padding: 1rem 1rem 9rem; }
h1 { font-size: 1.25rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }
p { margin: .25rem 0 .75rem; color: var(--dim); max-width: 70ch; }
.cards { display: grid; gap: .6rem; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); margin: 1rem 0; }
.card { border: 1px solid var(--line); border-radius: .6rem; padding: .6rem .8rem; background: var(--soft); overflow-wrap: anywhere; }
.card h2 { font-size: 1rem; margin: 0 0 .2rem; }
.card ul { list-style: none; margin: .3rem 0 0; padding: 0; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1rem; padding: 0; margin: .6rem 0; list-style: none; color: var(--dim);
  font-size: .9rem; }
.controls { display: flex; flex-wrap: wrap; gap: .6rem 1.2rem; align-items: center; margin: .6rem 0; }
.controls label { display: flex; gap: .45rem; align-items: center; min-height: 2.75rem; }
.controls input[type=search] { font: inherit; min-height: 2.75rem; padding: 0 .7rem; border: 1px solid var(--line); border-radius: .5rem;
  background: var(--back); color: var(--text); width: min(100%, 20rem); }
.frame { overflow: auto; max-height: 80vh; border: 1px solid var(--line); border-radius: .6rem; }
table { border-collapse: separate; border-spacing: 0; width: 100%; }
th, td { border-bottom: 1px solid var(--line); text-align: center; padding: 0; }
thead th { position: sticky; top: 0; background: var(--soft); z-index: 2; padding: .5rem .6rem; font-size: .9rem; }
tbody th { position: sticky; left: 0; background: var(--back); z-index: 1; text-align: left; font-weight: 500; padding: .3rem .6rem;
  max-width: 44vw; min-width: 9rem; overflow-wrap: anywhere; border-right: 1px solid var(--line); }
thead th:first-child { left: 0; z-index: 3; text-align: left; }
tbody th small { display: block; color: var(--dim); font-weight: 400; }
td button { all: unset; box-sizing: border-box; display: block; width: 100%; min-width: 3.2rem; min-height: 2.75rem; line-height: 2.75rem;
  cursor: pointer; font-size: 1.15rem; text-align: center; }
td button:focus-visible, td button[aria-pressed=true] { outline: 3px solid var(--decomposed); outline-offset: -3px; }
.native { color: var(--native); } .partial { color: var(--partial); } .decomposed { color: var(--decomposed); }
.exact { color: var(--exact); } .approximate { color: var(--approximate); } .other-engine { color: var(--other); }
.refused, .none { color: var(--none); font-weight: 700; }
#why { position: fixed; left: 0; right: 0; bottom: 0; z-index: 9; background: var(--soft); border-top: 2px solid var(--line);
  padding: .7rem 1rem 1rem;
  max-height: 42vh; overflow: auto; overflow-wrap: anywhere; white-space: pre-line; }
#why strong { display: block; }
@media print { #why, .controls { display: none; } .frame { max-height: none; } }
"""

SCRIPT = """
const why = document.getElementById("why"), frame = document.querySelector(".frame");
let pinned = null;
function show(cell) {
  const head = document.createElement("strong");
  head.textContent = cell.dataset.head;
  why.replaceChildren(head, document.createTextNode(cell.dataset.why));
}
frame.addEventListener("mouseover", e => { const b = e.target.closest("button"); if (b && !pinned) show(b); });
frame.addEventListener("focusin", e => { const b = e.target.closest("button"); if (b && !pinned) show(b); });
frame.addEventListener("click", e => {
  const b = e.target.closest("button");
  if (!b) return;
  if (pinned) pinned.setAttribute("aria-pressed", "false");
  pinned = pinned === b ? null : b;
  if (pinned) { pinned.setAttribute("aria-pressed", "true"); show(b); }
});
const rows = [...document.querySelectorAll("tbody tr")], only = document.getElementById("only"), find = document.getElementById("find");
function filter() {
  const word = find.value.trim().toLowerCase();
  for (const row of rows) row.hidden = only.checked && row.dataset.plain === "1" || word && !row.dataset.text.includes(word);
}
only.addEventListener("change", filter); find.addEventListener("input", filter); filter();
"""
