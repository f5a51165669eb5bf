"""The page's style: one column on a phone, tables that become cards, light and dark."""

CSS = """
:root { --bg:#fff; --fg:#1b1f24; --soft:#5b6672; --line:#d9dee4; --card:#f6f8fa;
  --s0:#2457a6; --s1:#c2452d; --s2:#2e8b57; --s3:#8a63b8; --good:#1a7f4b; --bad:#b3261e; }
@media (prefers-color-scheme: dark) { :root { --bg:#14181d; --fg:#e6e9ec; --soft:#9aa5b1;
  --line:#343c45; --card:#1c2229; --s0:#7aa7f0; --s1:#f08a70; --s2:#6fcf97; --s3:#c3a5ea;
  --good:#6fcf97; --bad:#ff8a80; } }
* { box-sizing:border-box; }
body { margin:0; background:var(--bg); color:var(--fg);
  font:16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width:1120px; margin:0 auto; padding:1rem; }
h1 { font-size:1.6rem; margin:.5rem 0 .25rem; overflow-wrap:anywhere; }
h1 .badge { font-size:1rem; vertical-align:.2em; }
h2 { font-size:1.25rem; margin:2.5rem 0 .5rem; padding-top:.75rem;
  border-top:1px solid var(--line); }
h3 { font-size:1rem; margin:1rem 0 .25rem; }
p, li { max-width:75ch; overflow-wrap:anywhere; }
.soft { color:var(--soft); } .good { color:var(--good); } .bad { color:var(--bad); }
.badge { display:inline-block; padding:.1rem .7rem; border-radius:1rem; font-weight:600;
  border:1px solid currentColor; }
.note { background:var(--card); border-left:4px solid var(--s1); padding:.6rem .9rem; }
.tiles { display:grid; gap:.75rem; grid-template-columns:repeat(auto-fill, minmax(160px, 1fr)); }
.tile { background:var(--card); border-radius:.5rem; padding:.7rem .9rem; }
.tile b { display:block; font-size:1.5rem; line-height:1.2; }
.tile span { color:var(--soft); font-size:.875rem; }
.charts { display:grid; gap:1rem;
  grid-template-columns:repeat(auto-fill, minmax(min(100%, 420px), 1fr)); }
figure { margin:0; } figcaption { color:var(--soft); font-size:.875rem; overflow-wrap:anywhere; }
svg { width:100%; height:auto; display:block; max-width:480px; }
svg text { font:12px system-ui, sans-serif; fill:var(--soft); }
svg.small { width:100px; height:16px; }
.grid { stroke:var(--line); stroke-width:1; }
.line { fill:none; stroke-width:2; } .line.muted { stroke:var(--soft); stroke-dasharray:4 4; }
.line.s0 { stroke:var(--s0); } .line.s1 { stroke:var(--s1); } .line.s2 { stroke:var(--s2); }
.line.s3 { stroke:var(--s3); }
.dot.s0 { fill:var(--s0); } .dot.s1 { fill:var(--s1); } .dot.s2 { fill:var(--s2); }
.dot.s3 { fill:var(--s3); }
.bar.s1 { fill:var(--s1); fill-opacity:.55; } .bar.s2 { fill:var(--s2); fill-opacity:.55; }
.key { font-size:.875rem; margin-right:1rem; white-space:nowrap; }
.key::before { content:""; display:inline-block; width:.8em; height:.8em; margin-right:.35em;
  border-radius:2px; background:var(--c); vertical-align:-.05em; }
table { border-collapse:collapse; width:100%; margin:.5rem 0; font-size:.9375rem; }
th, td { text-align:left; padding:.35rem .6rem; border-bottom:1px solid var(--line);
  vertical-align:top; overflow-wrap:anywhere; }
th { color:var(--soft); font-weight:600; }
/* Cells may break inside words, so nothing but this keeps names beside long values whole. */
th:first-child, td:first-child { min-width:8em; }
td.n, th.n { text-align:right; font-variant-numeric:tabular-nums; overflow-wrap:normal; }
.confusion { display:grid; grid-template-columns:auto 1fr 1fr; gap:4px; max-width:480px;
  font-size:.875rem; }
.confusion div { padding:.5rem; display:flex; align-items:center; }
.confusion .head { color:var(--soft); }
.confusion .cell { background:color-mix(in srgb, var(--s0) calc(var(--share) * 70%), var(--card));
  border-radius:.35rem; flex-direction:column; justify-content:center; }
.confusion .cell b { font-size:1.4rem; }
.faces { display:grid; gap:1rem;
  grid-template-columns:repeat(auto-fill, minmax(min(100%, 330px), 1fr)); }
.faces .pair { display:flex; gap:4px; }
.faces .pair img { width:50%; max-width:160px; height:auto; }
.sheet { display:grid; gap:4px; grid-template-columns:repeat(auto-fill, minmax(80px, 96px)); }
.sheet img, .wide { width:100%; height:auto; display:block; }
.wide { max-width:1000px; }
.sheet img.fake { outline:3px solid var(--s1); outline-offset:-3px; }
.sheet img.real { outline:3px solid var(--s2); outline-offset:-3px; }
pre { background:var(--card); padding:.75rem; border-radius:.5rem; font-size:.8125rem;
  white-space:pre-wrap; overflow-wrap:anywhere; }
@media (max-width:700px) {
  table.cards thead { display:none; }
  table.cards tr { display:block; border:1px solid var(--line); border-radius:.5rem;
    margin:.5rem 0; padding:.3rem 0; }
  table.cards td { display:flex; justify-content:space-between; gap:1rem; border:0;
    padding:.15rem .75rem; text-align:right; }
  table.cards td::before { content:attr(data-label); color:var(--soft); text-align:left;
    flex:0 0 auto; max-width:55%; overflow-wrap:anywhere; }
  table.cards td:first-child { font-weight:600; min-width:0; }
  table.cards td:empty { display:none; }
}
@media print { h2 { break-after:avoid; } figure, tr { break-inside:avoid; } }
"""
