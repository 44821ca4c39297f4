"""Pieces of a page that holds everything inside: text is escaped, images are data URIs."""

import base64
import html
from collections.abc import Iterable, Sequence

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #1b1b1b; background: #fff;
  max-width: 1200px; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }}
h1 {{ font-size: 1.6rem; line-height: 1.2; }}
h2 {{ font-size: 1.25rem; margin-top: 2.5rem; border-bottom: 1px solid #ccc; }}
p {{ max-width: 46rem; }}
dl {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: .75rem; }}
dl div {{ background: #eef3f8; padding: .5rem .75rem; border-radius: 6px; }}
dt {{ font-size: .85rem; color: #444; }}
dd {{ margin: 0; font-size: 1.4rem; font-weight: 600; }}
.wide {{ overflow-x: auto; margin-bottom: 1.5rem; }}
.grid {{ display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, var(--cell, 17rem)), 1fr)); }}
figure {{ margin: 0; }}
figcaption {{ font-size: .9rem; }}
img {{ max-width: 100%; height: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; overflow-wrap: normal; }}
th, td {{ padding: .25rem .6rem; border-bottom: 1px solid #ddd; text-align: right; }}
th:first-child, td:first-child {{ text-align: left; }}
td.bar {{ text-align: left; min-width: 5rem; }}
small {{ display: block; font-weight: normal; color: #444; }}
nav {{ display: flex; flex-wrap: wrap; gap: .25rem 1rem; }}
nav a {{ white-space: nowrap; }}
td.bar span {{ display: inline-block; height: .8rem; background: #1f5fa8; }}
.matrix th, .matrix td {{ padding: .2rem .35rem; border: 1px solid #ddd; min-width: 1.6rem;
  font-size: .85rem; }}
@media (max-width: 600px) {{ table {{ font-size: .8rem; }} th, td {{ padding: .25rem .2rem; }} }}
.matrix thead th {{ vertical-align: bottom; }}
.matrix thead th span {{ writing-mode: vertical-rl; transform: rotate(180deg); }}
.matrix th:first-child {{ position: sticky; left: 0; background: #fff; }}
</style>
</head>
<body>
{body}
</body>
</html>
"""


def document(title: str, parts: Iterable[str]) -> str:
    """A whole page without any reference to elsewhere; it runs no script."""
    return PAGE.format(title=text(title), body="\n".join(parts))


def text(value: object) -> str:
    """Text as HTML."""
    return html.escape(str(value))


def heading(title: str, *paragraphs: str) -> str:
    """The beginning of a section."""
    head = f'<h2 id="{_anchor(title)}">{text(title)}</h2>'
    return head + "".join(f"<p>{text(one)}</p>" for one in paragraphs)


def contents(titles: Iterable[str]) -> str:
    """Links to sections."""
    links = (f'<a href="#{_anchor(title)}">{text(title)}</a>' for title in titles)
    return f"<nav>{''.join(links)}</nav>"


def _anchor(title: str) -> str:
    return text(title.lower().replace(" ", "-"))


def figure(caption: str, input_image: bytes, kind: str, alternative: str) -> str:
    """An image with its caption."""
    data = base64.b64encode(input_image).decode("ascii")
    image = f'<img src="data:image/{kind};base64,{data}" alt="{text(alternative)}">'
    return f"<figure><figcaption>{text(caption)}</figcaption>{image}</figure>"


def grid(figures: Iterable[str], cell: str = "17rem") -> str:
    """Figures side by side, as many as fit."""
    return f'<div class="grid" style="--cell: {cell}">{"".join(figures)}</div>'


def facts(values: Iterable[tuple[str, str]]) -> str:
    """A few numbers in large letters."""
    items = (f"<div><dt>{text(k)}</dt><dd>{text(v)}</dd></div>" for k, v in values)
    return f"<dl>{''.join(items)}</dl>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """A table that scrolls by itself where it is wider than the page."""
    names = "".join(f"<th><span>{text(name)}</span></th>" for name in head)
    body = "".join(f"<tr>{''.join(cells)}</tr>" for cells in rows)
    return (
        f'<div class="wide"><table class="{kind}"><thead><tr>{names}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def cell(value: object) -> str:
    """A cell of a table."""
    return f"<td>{text(value)}</td>"


def row_head(value: object, note: str = "") -> str:
    """The first cell of a row."""
    return f"<th>{text(value)}{f'<small>{text(note)}</small>' if note else ''}</th>"


def bar(share: float) -> str:
    """A cell with a bar."""
    return (
        f'<td class="bar"><span style="width: {100 * min(max(share, 0.0), 1.0):.1f}%"></span></td>'
    )


def shade(value: object, share: float, color: tuple[int, int, int]) -> str:
    """A cell whose background is the stronger, the larger a share is."""
    # At most 0.6: black letters stay readable on it.
    paint = f"rgba({color[0]}, {color[1]}, {color[2]}, {0.6 * share:.3f})"
    return f'<td style="background: {paint}">{text(value)}</td>'
