"""Pieces of HTML that the views share. ``Markup.format`` escapes every value on its way in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from markupsafe import Markup

from bocb_hf.leaderboard import columns as c
from bocb_hf.leaderboard.state import State

_KINDS = {"csv": "CSV", "tex": "LaTeX", "png": "PNG", "svg": "SVG"}
LONGEST = 1200  # letters of a sentence on a page; the files have all of it


def join(parts: Iterable[Markup]) -> Markup:
    """One after the other."""
    return Markup("").join(parts)


def items(sentences: Iterable[str]) -> Markup:
    """A list; nothing for none."""
    found = [text if len(text) <= LONGEST else text[:LONGEST].rsplit(" ", 1)[0] + " …" for text in sentences]
    lines = join(Markup("<li>{}</li>").format(text) for text in found)
    return Markup("<ul>{}</ul>").format(lines) if found else Markup("")


def headline(sentences: Iterable[str]) -> Markup:
    """What to take from a view in five seconds."""
    return join(Markup("<p class=headline>{}</p>").format(text) for text in sentences if text)


def files(name: str, kinds: Sequence[str], state: State, *others: tuple[str, Sequence[str]]) -> Markup:
    """Links that download; ``others`` are further files and their kinds."""
    links = [
        Markup('<a href="export/{}.{}?{}" download>{}</a>').format(each, kind, state.query(), _KINDS[kind])
        for each, its in ((name, kinds), *others)
        for kind in its
    ]
    return Markup("<p class=files>Download {}</p>").format(Markup(" · ").join(links))


def grid_table(grid: c.Grid | None, state: State, link: Callable[[int], str] | None = None) -> Markup:
    """A table with its caption and files; ``link`` gives the address of a row."""
    if grid is None or not grid.rows:
        return (
            Markup("<p class=empty>Nothing to show here.</p>")
            if grid is None or not grid.caption
            else Markup("<p class=empty>{}</p>").format(grid.caption)
        )
    head = join(
        Markup("<th scope=col{}>{}</th>").format(Markup(" class=num") if c.number else "", c.label)
        for c in grid.columns
    )
    rows: list[Markup] = []
    for i, row in enumerate(grid.rows):
        texts = [column.text(row) for column in grid.columns]
        first = Markup('<a href="{}">{}</a>').format(link(i), texts[0]) if link else texts[0]
        cells = [Markup("<th scope=row>{}</th>").format(first)]
        cells += [
            Markup("<td{}>{}</td>").format(Markup(" class=num" if c.number else " class=wrap" if c.wrap else ""), text)
            for c, text in zip(grid.columns[1:], texts[1:], strict=True)
        ]
        rows.append(Markup("<tr{}>{}</tr>").format(Markup(" class=marked") if i in grid.marked else "", join(cells)))
    table = Markup(
        '<p class=soft id="caption-{0}">{1}</p><div class=scroll tabindex=0 role=region aria-labelledby="caption-{0}">'
        '<table class=grid aria-labelledby="caption-{0}"><thead><tr>{2}</tr></thead><tbody>{3}</tbody></table></div>'
    ).format(grid.name, grid.caption, head, join(rows))
    return table + files(grid.name, ("csv", "tex"), state)


def figure(name: str, alt: str, state: State) -> Markup:
    return Markup(
        '<figure><img src="export/{}.svg?{}" alt="{}" loading=lazy><figcaption>{}</figcaption></figure>'
    ).format(name, state.query(), alt, files(name, ("png", "svg"), state))


def address(state: State, **changes: object) -> str:
    return "?" + replace(state, **changes).query()  # pyright: ignore[reportArgumentType]


def pairs(values: Mapping[str, str]) -> Markup:
    rows = [Markup("<tr><th scope=row>{}</th><td>{}</td></tr>").format(k, v) for k, v in values.items()]
    return Markup("<div class=scroll><table class=grid>{}</table></div>").format(join(rows))


def pick(intro: str, what: str, names: Sequence[tuple[str, str]], state: State) -> Markup:
    """Links that set one part of the state.

    Args:
        intro: The sentence above them.
        what: Field of the state.
        names: (value, text) of each.
        state: All the rest.
    """
    links = [
        Markup('<li><a href="{}">{}</a></li>').format(address(state, cell=False, **{what: key}), text)
        for key, text in names
    ]
    return Markup("<p>{}</p><ul class=picks>{}</ul>").format(intro, join(links))
