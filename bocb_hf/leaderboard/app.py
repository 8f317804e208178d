"""The page: Gradio's filters and tabs around the views, and the addresses of files beside it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import gradio as gr
import uvicorn
from fastapi import FastAPI, Request, Response
from gradio.themes import Default
from starlette.middleware.gzip import GZipMiddleware

from bocb_hf.coupling.pareto import AXES
from bocb_hf.errors import InputError
from bocb_hf.leaderboard.columns import backbone_name, short_revision
from bocb_hf.leaderboard.export import TYPES, export
from bocb_hf.leaderboard.layout import FAMILIES, LEVELS
from bocb_hf.leaderboard.read import Board
from bocb_hf.leaderboard.state import MOST, VIEWS, State, parse_query
from bocb_hf.leaderboard.views import Page, render
from bocb_hf.leaderboard.watched import WatchedFile
from bocb_hf.optim import CATEGORIES
from bocb_hf.report.words.tables import optimizer_label

LONGEST = 8000  # letters of an address
_HERE = Path(__file__).resolve().parent
_TITLE = "Which optimizer for this backbone?"
_HEADERS = {"Cache-Control": "public, max-age=300", "X-Content-Type-Options": "nosniff"}
# a figure is data: no script of it runs, and it loads nothing
_FIGURE = _HEADERS | {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox"}
# Gradio would check a choice against what it remembers of the visitor, and refuse it once it has forgotten;
# `_read` checks what is sent instead
_FREE: dict[str, Any] = {"allow_custom_value": True}
# fonts of the system: the page asks nobody for others
_THEME = Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
_AXES = [(text, name) for name, text in AXES.items()]


def build_blocks(source: WatchedFile) -> gr.Blocks:
    """The Gradio part of the page.

    Args:
        source: Of the file; asked anew for each event, so that a newer file is shown without a restart.
    """
    with gr.Blocks(title=_TITLE, analytics_enabled=False, fill_width=True) as blocks:
        gr.Markdown(
            f"# {_TITLE}\nBackbone–optimizer coupling, from published records only. Every score has its n, and its "
            "interval where there is more than one run."
        )
        with gr.Accordion("Filters", open=True, elem_id="filters"):
            with gr.Row():
                table = gr.Dropdown(label="Data set", elem_id="table", **_FREE)
                setting = gr.Dropdown(label="Setting and data revision", elem_id="setting", **_FREE)
                namespaces = gr.Dropdown(label="Namespaces", multiselect=True, elem_id="namespaces", **_FREE)
                fewest = gr.Slider(1, 10, 1, step=1, label="n, at least", elem_id="n")
            with gr.Row():
                # without choices until the address was read, which would undo what a visitor has chosen before
                families = gr.CheckboxGroup([], label="Families of backbones", elem_id="families")
                about = "; ".join(f"{c}: {text}" for c, text in CATEGORIES.items())
                categories = gr.CheckboxGroup([], label="Categories of optimizers", info=about, elem_id="categories")
                level = gr.Radio([], label="Trust, at least", elem_id="level")
        with gr.Row():
            backbone = gr.Dropdown(label="Backbone", elem_id="backbone", visible=False, **_FREE)
            optimizer = gr.Dropdown(label="Optimizer", elem_id="optimizer", visible=False, **_FREE)
            axis = gr.Dropdown(_AXES, label="Cost", elem_id="axis", visible=False)
            ask = gr.Textbox(
                label="Recommend for",
                placeholder="resnet101, timm/convnext_base.fb_in1k, …; then Enter",
                elem_id="ask",
                max_length=MOST,
                visible=False,
            )
        controls = [setting, families, categories, level, fewest, namespaces, backbone, optimizer, axis, ask]
        asks = [backbone, optimizer, axis, ask]
        script = (_HERE / "page.js").read_text(encoding="utf-8")
        pages: dict[str, gr.HTML] = {}
        with gr.Tabs(elem_id="views") as tabs:
            made: dict[str, gr.Tab] = {}
            for view, label in VIEWS.items():
                with gr.Tab(label, id=view, render_children=True) as made[view]:
                    pages[view] = gr.HTML(js_on_load=script, elem_id=f"view-{view}", apply_default_css=False)
        # kept by the page, like all controls: the server remembers nobody, so a restart loses nothing
        active, cell = gr.Textbox("table", visible=False), gr.Checkbox(False, visible=False)
        views = list(pages.values())

        # most visitors look at the same; the version of the file keeps what is old from being shown
        @lru_cache(maxsize=128)
        def remembered(version: str, state: State, notices: tuple[str, ...]) -> str:
            return render(Page(source.boards(), state, notices))

        def show(state: State, notices: Sequence[str] = ()) -> list[Any]:
            if state.view == "recommend":  # asks the Hub for a backbone, whose silence must not be remembered
                html = render(Page(source.boards(), state, notices))
            else:
                html = remembered(source.version, state, tuple(notices))
            return [html if view == state.view else gr.skip() for view in VIEWS]

        def chosen(view: str, opened: bool, *values: Any) -> tuple[State, list[str]]:
            """The state of the controls, valid whatever a client sends, and what was dropped."""
            return _read(source.boards(), view, opened, values)

        def change(view: str, opened: bool, *values: Any) -> list[Any]:
            return show(*chosen(view, opened, *values))

        def turn(to: str, at: str, opened: bool, *values: Any) -> list[Any]:
            # a tab tells of itself before the address was read, and when an address or a link has already turned to it
            if not values[0] or to == at:
                return [gr.skip()] * (1 + len(asks) + len(views))
            return [to, *(gr.update(visible=shown) for shown in _shown(to)), *show(*chosen(to, opened, *values))]

        def load(request: gr.Request) -> list[Any]:
            return arrive(request.query_params.multi_items())

        def arrive(pairs: list[tuple[str, str]]) -> list[Any]:
            state, notices = parse_query(pairs, source.boards())
            return [
                *_controls(source.boards(), state),
                state.view,
                state.cell,
                gr.Tabs(selected=state.view),
                *show(state, [*notices, *source.notices()]),
            ]

        def change_table(dataset: str, view: str, *values: Any) -> list[Any]:
            boards = source.boards()
            first = next((name for name, b in boards.items() if b.info.dataset == dataset), next(iter(boards)))
            return change_setting(first, view, *values)

        def change_setting(name: str, view: str, *values: Any) -> list[Any]:
            # filters of the old table that the new one does not know are dropped without a word
            state, _ = chosen(view, False, name, *values)
            return [*_controls(source.boards(), state), False, *show(state)]

        def follow(event: gr.EventData) -> list[Any]:
            """A cell or a link that was clicked; both name an address."""
            return arrive(parse_qsl(str((event._data or {}).get("query", ""))[:LONGEST]))

        quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
        blocks.load(load, None, [table, *controls, active, cell, tabs, *views], **quick)
        table.input(change_table, [table, active, *controls[1:]], [table, *controls, cell, *views], **quick)
        setting.input(change_setting, [setting, active, *controls[1:]], [table, *controls, cell, *views], **quick)
        for control in (families, categories, level, namespaces, backbone, optimizer, axis):
            control.input(change, [active, cell, *controls], views, **quick)
        fewest.release(change, [active, cell, *controls], views, **quick)
        ask.submit(change, [active, cell, *controls], views, **quick)
        for view, tab in made.items():
            tab.select(partial(turn, view), [active, cell, *controls], [active, *asks, *views], **quick)
        for page in views:
            page.click(follow, None, [table, *controls, active, cell, tabs, *views], **quick)
    return blocks


def _shown(view: str) -> list[bool]:
    """Which of the controls backbone, optimizer, axis and ask a view has."""
    used = {"backbone": (0,), "optimizer": (1,), "cost": (0, 2), "recommend": (3,)}.get(view, ())
    return [place in used for place in range(4)]


def _read(boards: dict[str, Board], view: str, opened: bool, values: Sequence[Any]) -> tuple[State, list[str]]:
    """A state and what was dropped, from what a client sent; the same reader as the address has."""
    names = ("table", "families", "categories", "level", "n", "namespaces", "backbone", "optimizer", "axis", "ask")
    pairs: list[tuple[str, str]] = [("view", str(view)), ("cell", "1" if opened else "")]
    for name, value in zip(names, values, strict=True):
        each = value if isinstance(value, list) else [value]
        pairs += [(name, str(int(v) if isinstance(v, float) else v)) for v in each if v is not None]
    return parse_query(pairs, boards)


def _controls(boards: dict[str, Board], state: State) -> list[Any]:
    """The controls as a table needs them, data set first."""
    board = boards[state.table]
    info = board.info
    datasets = list(dict.fromkeys(b.info.dataset for b in boards.values()))
    settings = [
        (
            f"{b.info.setting}, " + ("published" if b.info.source == "published" else short_revision(b.info.revision)),
            name,
        )
        for name, b in boards.items()
        if b.info.dataset == info.dataset
    ]
    backbones = [("", ""), *((backbone_name(board, b), b) for b in info.backbones)]
    optimizers = [("", ""), *((optimizer_label(o), o) for o in info.optimizers)]
    families = [(FAMILIES.get(f, f), f) for f in dict.fromkeys(info.families)]
    shown = _shown(state.view)
    return [
        gr.update(choices=datasets, value=info.dataset),
        gr.update(choices=settings, value=state.table),
        gr.update(choices=families, value=list(state.families)),
        gr.update(choices=sorted(set(info.categories)), value=list(state.categories)),
        gr.update(choices=list(LEVELS), value=state.level),
        state.n,
        gr.update(choices=list(board.namespaces), value=list(state.namespaces)),
        gr.update(choices=backbones, value=state.backbone, visible=shown[0]),
        gr.update(choices=optimizers, value=state.optimizer, visible=shown[1]),
        gr.update(value=state.axis, visible=shown[2]),
        gr.update(value=state.ask, visible=shown[3]),
    ]


def build_app(source: WatchedFile) -> FastAPI:
    """The whole server: the page at ``/``, its files below ``/export``."""
    app = FastAPI(title=_TITLE, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(GZipMiddleware, minimum_size=2000, compresslevel=4)

    @app.get("/export/{name}.{kind}")
    def file(name: str, kind: str, request: Request) -> Response:
        boards = source.boards()
        state, dropped = parse_query(request.query_params.multi_items(), boards)
        try:
            if dropped:  # a file must be what its address says
                raise InputError(" ".join(dropped))
            content = export(name, kind, state, boards)
        except InputError as error:
            return Response(str(error), 404, {"X-Content-Type-Options": "nosniff"}, "text/plain; charset=utf-8")
        headers = _FIGURE if kind in ("png", "svg") else _HEADERS
        if kind != "svg":  # which the page shows itself; its link downloads it
            headers = headers | {"Content-Disposition": f'attachment; filename="{name}.{kind}"'}
        return Response(content, 200, headers, TYPES[kind])

    style = (_HERE / "page.css").read_text(encoding="utf-8")
    return gr.mount_gradio_app(
        app,
        build_blocks(source),
        "/",
        theme=_THEME,
        css=style,
        footer_links=[],
        ssr_mode=False,
        show_error=True,
        run_history=False,
    )


def serve(location: str, host: str = "127.0.0.1", port: int = 7860) -> None:
    """Serves the leaderboard until it is stopped.

    Args:
        location: A Parquet file, or ``hf://datasets/<namespace>/<name>``.
        host: Address to listen on; ``0.0.0.0`` for everybody.
        port: Likewise.

    Raises:
        InputError: The file cannot be had or read.
    """
    app = build_app(WatchedFile(location))
    print(f"leaderboard of {location}: http://{host}:{port}", flush=True)
    uvicorn.run(app, host=host, port=port, log_level="warning")
