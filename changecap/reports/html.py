"""The frame of a page that a person looks at: one HTML file, light or dark, wide or narrow, without scripts."""

from html import escape

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root { color-scheme: light dark; --paper: #fbfbfa; --card: #fff; --ink: #1c2127; --soft: #667080; --line: #e3e5e8;
  --accent: #2563c9; --tint: #eef3fc; --good: #17703c; --good-tint: #e2f4e8; --bad: #b3261e; --bad-tint: #fce8e6;
  --check: #d9dce0; --board: #f4f5f6; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171a; --card: #1c2025; --ink: #e6e9ec; --soft: #98a2ae;
  --line: #30363d; --accent: #7aa8f5; --tint: #1f2b3f; --good: #7fd69f; --good-tint: #18351f; --bad: #ff9f97;
  --bad-tint: #442021; --check: #3a4048; --board: #2a2f35; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1240px; padding: 2.5rem 1.5rem 4rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
  font-variant-numeric: tabular-nums; }
h1 { font-size: 1.9rem; line-height: 1.2; letter-spacing: -.02em; margin: 0 0 .4rem; }
h2 { font-size: 1.25rem; letter-spacing: -.01em; margin: 0 0 .2rem; }
p { margin: .3rem 0; }
header p, section > p { color: var(--soft); } header b { color: var(--ink); font-weight: 600; }
section { margin-top: 2.6rem; }
small, .small { color: var(--soft); font-size: .8rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(145px, 1fr)); gap: .75rem; margin-top: 1.6rem; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: .8rem 1rem; }
.tile b { display: block; font-size: 1.7rem; line-height: 1.15; font-weight: 650; letter-spacing: -.02em; }
.tile span, .tile small { display: block; } .tile small { margin-top: .25rem; line-height: 1.3; }
.wide { overflow-x: auto; margin: .9rem 0 1.2rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .38rem .6rem; text-align: right; white-space: nowrap; font-weight: 400; }
thead th { color: var(--soft); font-size: .8rem; padding-bottom: .15rem; }
thead .group { text-align: center; border-left: 1px solid var(--line); padding-top: .5rem; font-weight: 600; }
.first { border-left: 1px solid var(--line); }
tbody th { text-align: left; } tbody th small { display: block; line-height: 1.2; font-weight: 400; }
tbody tr { border-top: 1px solid var(--line); }
.alike { color: var(--soft); font-style: normal; margin-right: .25em; }
td small { display: block; line-height: 1.1; font-size: .68rem; font-weight: 400; }
td.between { color: var(--soft); font-size: .85rem; text-align: left; padding-left: 0; }
.model { background: var(--tint); } .model th, .model td { font-weight: 650; }
.note { font-size: .85rem; max-width: 62rem; margin: .5rem 0; }
.curves { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 360px), 1fr)); gap: 1rem; }
figure { margin: 0; } figcaption { color: var(--soft); font-size: .8rem; margin-top: .15rem; }
.curve { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: .8rem;
  max-width: 620px; }
.curve svg { display: block; width: 100%; } .curve text { font-size: 11px; fill: var(--soft); }
.curve .end { text-anchor: end; } .grid { stroke: var(--line); }
polyline { fill: none; stroke: var(--accent); stroke-width: 2; stroke-linejoin: round; } circle { fill: var(--accent); }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; font-size: .85rem; }
.legend span { display: inline-flex; align-items: center; gap: .4rem; }
.swatch { width: .95rem; height: .95rem; border-radius: 3px; border: 1px solid var(--line); }
.blank, .pictures img { background: repeating-conic-gradient(var(--check) 0 25%, var(--board) 0 50%) 0 0 / 16px 16px; }
.blank { background-size: 8px 8px; }
article { display: flex; flex-wrap: wrap; gap: 1rem 1.5rem; margin-top: .9rem; padding: 1rem; background: var(--card);
  border: 1px solid var(--line); border-radius: 10px; }
.pictures { display: flex; flex-wrap: wrap; gap: .5rem; }
.pictures img { display: block; width: 192px; aspect-ratio: 1; image-rendering: pixelated; border-radius: 4px;
  object-fit: contain; }
.words { flex: 1 1 280px; min-width: 0; }
.sentence { font-size: 1.08rem; line-height: 1.4; font-weight: 600; margin: 0 0 .2rem; overflow-wrap: anywhere; }
.truth { line-height: 1.4; margin-bottom: .5rem; overflow-wrap: anywhere; }
.chips { display: flex; flex-wrap: wrap; gap: .3rem; align-items: center; }
.chip { border-radius: 99px; padding: .05rem .6rem; font-size: .82rem; white-space: nowrap; }
.right { background: var(--good-tint); color: var(--good); } .wrong { background: var(--bad-tint); color: var(--bad); }
.heat th, .heat td { padding: .38rem .42rem; }
.heat thead th { white-space: normal; vertical-align: bottom; }  /* a long name on two lines */
.heat td { text-align: right; min-width: 2.9rem; }
ul.plain { margin: .6rem 0; padding-left: 1.2rem; max-width: 62rem; } ul.plain li { margin: .35rem 0; }
.figure { display: block; width: 100%; max-width: 1190px; margin: .9rem 0;
  border: 1px solid var(--line); border-radius: 10px; background: #fff; }
details { margin-top: .4rem; } summary { cursor: pointer; color: var(--accent); font-size: .88rem; }
details ul { margin: .3rem 0 0; padding-left: 1.1rem; font-size: .9rem; overflow-wrap: anywhere; }
@media (max-width: 520px) { body { padding: 1.5rem .8rem; } .pictures figure { flex: 1 1 40%; }
  .pictures img { width: 100%; min-width: 120px; } }
</style></head><body>{body}</body></html>
"""


def page(body: str, title: str) -> str:
    """The whole file of a page with ``body``, HTML, and ``title``, plain text."""
    return _PAGE.replace("{title}", escape(title)).replace("{body}", body)
