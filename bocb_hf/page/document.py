"""Puts the front-end and its data together: the files of a folder, or one document that opens by a double click.

Nothing of a record stands in the document as markup: the configuration is JSON without a ``<``, and data are base64.
The content security policy, in a meta tag so that it holds on any host, allows the scripts and styles of the page and
no other, by their place or by their SHA-256, and requests to the page's own host and the Hub alone.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import constants

from bocb_hf.errors import InputError
from bocb_hf.page.data import FORMAT, PageData

SCRIPT, STYLE = "page.js", "page.css"
SUMMARY, DETAILS, PARQUET = "summary.json.gz", "details.bin", "leaderboard.parquet"
INDEX = "index.html"
TITLE = "Which optimizer for this backbone?"
DOWNLOADS = ("https://*.hf.co", "https://*.huggingface.co")  # where the Hub sends whoever downloads a file
_BUNDLE = Path(__file__).resolve().parent / "bundle"


class Addresses(NamedTuple):
    """Where the page finds its data, relative to the page or absolute; None for what lies inside the document.

    Attributes:
        parquet: The file for programs; None where there is none.
        space: ``namespace/name`` of the Space that shows the page.
    """

    summary: str | None = SUMMARY
    details: str | None = DETAILS
    parquet: str | None = PARQUET
    space: str | None = None


def folder_files(data: PageData, parquet: bytes) -> dict[str, bytes]:
    """Returns the files of a folder that any web host can serve, by name.

    Raises:
        InputError: The front-end is missing from this installation.
    """
    return page_files(Addresses()) | {SUMMARY: data.summary, DETAILS: data.details, PARQUET: parquet}


def page_files(addresses: Addresses) -> dict[str, bytes]:
    """Returns the files of the page without its data, by name.

    Raises:
        InputError: The front-end is missing from this installation.
    """
    script, style = _bundle(SCRIPT), _bundle(STYLE)
    head, body = f'<link rel="stylesheet" href="{STYLE}">', f'<script src="{SCRIPT}"></script>'
    if addresses.summary is not None:  # asked for at once, beside the script, which then makes the same request
        head += f'\n<link rel="preload" as="fetch" crossorigin href="{html.escape(addresses.summary)}">'
    index = _document(addresses, "'self'", "'self'", head, body)
    return {INDEX: index, SCRIPT: script.encode(), STYLE: style.encode()}


def one_file(data: PageData, parquet: str | None = None) -> bytes:
    """Returns the page with all of its data as one document, which sends no request to open.

    Args:
        data: The data.
        parquet: Address of a file for programs, relative to the document; None without any.

    Raises:
        InputError: The front-end is missing from this installation.
    """
    # an end tag inside a string of the script would end it
    script = _bundle(SCRIPT).replace("</script", "<\\/script").replace("<!--", "<\\!--")
    style = _bundle(STYLE).replace("</style", "<\\/style")
    inside = "".join(
        f'<script type="application/octet-stream" id="bocb-{name}">{base64.b64encode(content).decode()}</script>\n'
        for name, content in (("summary", data.summary), ("details", data.details))
    )
    return _document(
        Addresses(None, None, parquet),
        _source(script),
        _source(style),
        f"<style>{style}</style>",
        f"{inside}<script>{script}</script>",
    )


def _document(addresses: Addresses, scripts: str, styles: str, head: str, body: str) -> bytes:
    hub = constants.ENDPOINT
    config = {"format": FORMAT, **addresses._asdict(), "hub": hub}
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src {scripts}",
            f"style-src {styles}",
            "img-src 'self' data: blob:",
            f"connect-src 'self' {' '.join([hub, *DOWNLOADS])}",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{html.escape(policy)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{TITLE}</title>
<link rel="icon" href="data:,">
{head}
</head>
<body>
<div id="bocb"></div>
<noscript>This page is drawn by JavaScript, from data that come with it. Its tables for programs are in the Parquet
file beside it.</noscript>
<script type="application/json" id="bocb-config">{_block(config)}</script>
{body}
</body>
</html>
""".encode()


def _block(value: object) -> str:
    """Returns JSON for a block of data in a document: no text in it can end the block."""
    text = json.dumps(value, ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _source(text: str) -> str:
    """Returns what a content security policy calls an inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _bundle(name: str) -> str:
    try:
        return (_BUNDLE / name).read_text(encoding="utf-8")
    except OSError:
        raise InputError(
            f"{name} of the page is missing from this installation ({_BUNDLE}); reinstall bocb-hf, or build it with "
            "`make page` in a checkout"
        ) from None
