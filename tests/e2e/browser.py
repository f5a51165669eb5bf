"""A real browser that looks at a page and says what overlaps or is cut."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# Runs in the page, inside a frame of the wanted width (a window cannot be as narrow as a phone).
_LOOK = """
const faults = [], width = document.documentElement.clientWidth;
if (document.documentElement.scrollWidth > width) faults.push('page wider than the window');
const name = e => e.tagName + '.' + (e.className.baseVal ?? e.className) + ' ' +
  (e.textContent || '').trim().slice(0, 40);
for (const e of document.querySelectorAll('main *')) {
  const box = e.getBoundingClientRect();
  if (box.width && (box.right > width + 1 || box.left < -1)) faults.push('beyond: ' + name(e));
  const html = !(e instanceof SVGElement);
  if (html && e.clientWidth && e.scrollWidth > e.clientWidth + 1) faults.push('cut: ' + name(e));
}
for (const image of document.images)
  if (!image.complete || !image.naturalWidth || image.getBoundingClientRect().width < 40)
    faults.push('picture: ' + image.alt);
const clash = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 &&
  Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
const texts = [...document.querySelectorAll('svg')].map(s => [...s.querySelectorAll('text')]);
texts.push([...document.querySelectorAll('h1,h2,h3,p,li,td,th,figcaption,figure>svg,.tile,.cell')]
  .filter(e => e.getBoundingClientRect().width));
for (const group of texts) for (let i = 0; i < group.length; i++) for (let j = 0; j < i; j++)
  if (!group[i].contains(group[j]) && !group[j].contains(group[i]) &&
      clash(group[i].getBoundingClientRect(), group[j].getBoundingClientRect()))
    faults.push('overlap: ' + name(group[i]) + ' / ' + name(group[j]));
for (const cell of document.querySelectorAll('th, td:first-child'))
  for (const part of [...cell.childNodes].filter(node => node.nodeType === 3))
    for (const word of part.data.matchAll(/(?<!\\S)[^\\s-]{1,20}(?!\\S)/g)) {
      const range = document.createRange();
      range.setStart(part, word.index);
      range.setEnd(part, word.index + word[0].length);
      if (range.getClientRects().length > 1) faults.push('broken: ' + word[0]);
    }
for (const text of document.querySelectorAll('svg text'))
  if (text.getBoundingClientRect().height < 9) faults.push('too small: ' + name(text));
parent.postMessage(JSON.stringify({faults, elements: document.querySelectorAll('main *').length,
  height: document.documentElement.scrollHeight}), '*');
"""


def find() -> str | None:
    """The browser's path, or None."""
    return next((path for path in map(shutil.which, _NAMES) if path), None)


def look(browser: str, page: Path, width: int, work: Path) -> dict:
    """Opens a page at a width.

    Returns:
      `faults` (sentences), `elements` (number) and `height` (pixels).
    """
    work.mkdir()
    text = page.read_text(encoding="utf-8")
    (work / "page.html").write_text(
        text.replace("</body>", f"<script>onload = () => {{{_LOOK}}}</script></body>"),
        encoding="utf-8",
    )
    (work / "frame.html").write_text(
        f"<body><iframe src='page.html' style='border:0;width:{width}px;height:9000px'></iframe>"
        "<script>onmessage = e => { const found = document.createElement('pre');"
        "found.id = 'found'; found.textContent = e.data; document.body.append(found); }</script>",
        encoding="utf-8",
    )
    done = subprocess.run(
        [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--no-first-run",
            f"--user-data-dir={work / 'profile'}",
            f"--window-size={max(width, 800)},1000",
            "--virtual-time-budget=20000",
            "--dump-dom",
            (work / "frame.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=180,
    )
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.S)
    assert found, done.stdout[-500:] + done.stderr[-2000:]
    return json.loads(unescape(found[1]))
