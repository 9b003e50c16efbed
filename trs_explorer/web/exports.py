"""What the page saves: figures with axes, key and caption, tables as CSV, arrays as NPZ, and a handout."""

import io
from collections.abc import Callable

import dash
import numpy as np
from dash import ALL, ClientsideFunction, Input, Output, ctx, dcc, no_update
from dash import State as Held

from trs_explorer.catalogue import DATA
from trs_explorer.class_labels import IN_KEY, class_label, whole_label
from trs_explorer.explore.compute_lock import PROCESS_LOCK
from trs_explorer.explore.jobs import Jobs
from trs_explorer.explore.library import Library
from trs_explorer.explore.plane_attacks import AttackPaths
from trs_explorer.explore.slice_plane import the
from trs_explorer.explore.slices import HEAVY_LEVELS, LEVELS, assemble
from trs_explorer.figures.matrix_figure import SMALL, matrix_spec, matrix_width
from trs_explorer.figures.of_ensemble import attacks_to_draw
from trs_explorer.figures.of_results import matrix_to_draw
from trs_explorer.figures.slice_figure import PAGE_PX, figure_size, slice_spec
from trs_explorer.figures.theme import LOOKS
from trs_explorer.files import Json
from trs_explorer.options import UsageError
from trs_explorer.parse_events import parse_step
from trs_explorer.tables import to_csv
from trs_explorer.web import matrix
from trs_explorer.web.attack_paths import attack_caption, slice_caption
from trs_explorer.web.bounds_callback import bounds_export
from trs_explorer.web.controls import NORM_LABELS
from trs_explorer.web.drawing import slice_to_draw
from trs_explorer.web.history import shown_checkpoint
from trs_explorer.web.markup import markup
from trs_explorer.web.page import NARROWEST, WIDEST, WIDTH
from trs_explorer.web.page_request import PageRequest, image_name, parse_request
from trs_explorer.web.plotly_script import figure_html
from trs_explorer.web.section_callbacks import matrix_snapshot
from trs_explorer.web.slice_cache import SliceCache
from trs_explorer.web.slice_view import SliceView
from trs_explorer.web.state_callbacks import SHOWN_ERRORS

FINEST = max(len(LEVELS), len(HEAVY_LEVELS)) - 1  # of a saved figure, if the slice has so many levels
MOST_LOGITS = 100  # columns of a CSV file


def add_exports(app: dash.Dash, library: Library, jobs: Jobs, slices: SliceCache) -> None:
    """Add the callbacks of the "save" menu."""

    @app.callback(
        Output("download", "data"),
        Output("export", "data"),
        Output("notice", "children", allow_duplicate=True),
        Input({"save": ALL}, "n_clicks"),
        Held("state", "data"),
        Held("save-width", "value"),
        Held("save-white", "value"),
        Held("look", "data"),
        prevent_initial_call=True,
    )
    def save(clicks: list, state: Json | None, width: float | None, white: bool, drawn: str | None) -> tuple:
        if not any(clicks) or not state or "error" in state:
            raise dash.exceptions.PreventUpdate
        kind = ctx.triggered_id["save"]
        try:
            request = parse_request(library, state)
            with PROCESS_LOCK.hold():
                view = slices.view(request)
            attacks = slices.attacks(request, view, at_once=True)
            look = "print" if white or kind == "handout" else drawn or "light"
            scale = max(NARROWEST, min(WIDEST, width or WIDTH)) / PAGE_PX
            if kind.startswith("bounds"):
                saved, name = bounds_export(kind, jobs, request, look=look), f"bounds-{request.state.run}"
                if isinstance(saved, bytes):
                    return dcc.send_bytes(saved, f"{name}.csv"), no_update, ""
                return no_update, {"figure": saved, "format": kind.partition("-")[2], "name": name, "scale": scale}, ""
            if kind.startswith("matrix-"):
                made = saved_matrix(request, attacks, matrix_snapshot(jobs, request).value, look=look)
                return no_update, {"figure": made, "format": kind.removeprefix("matrix-"),
                                   "name": f"transfer-{request.state.run}", "scale": scale}, ""  # fmt: skip
            if kind in ("svg", "png", "handout"):
                samples = [slices.samples(view, level) for level in range(min(FINEST + 1, view.levels))]
                made = saved_figure(request, view, attacks, assemble(samples, view.grids), look=look)
                if kind != "handout":
                    return no_update, {"figure": made, "format": kind, "name": f"slices-{request.state.run}", "scale": scale}, ""
                page = handout(request, made, attacks, view, matrix_snapshot(jobs, request).value)
                return dcc.send_string(page, f"handout-{request.state.run}.html"), no_update, ""
            data, name = _file(kind, library, jobs, slices, request, view, attacks)
        except SHOWN_ERRORS as error:
            return no_update, no_update, str(error)
        return dcc.send_bytes(data, name), no_update, ""

    app.clientside_callback(
        ClientsideFunction("explorer", "save"), Output("saved", "data"), Input("export", "data"), prevent_initial_call=True
    )


def _file(
    kind: str, library: Library, jobs: Jobs, slices: SliceCache, request: PageRequest, view: SliceView, attacks: AttackPaths
) -> tuple[bytes, str]:
    """Return a file's bytes and its name."""
    run = request.state.run
    if kind == "matrix":
        value = matrix_snapshot(jobs, request).value
        measured = value if isinstance(value, matrix.PartialMatrix) else matrix.PartialMatrix(
            matrix.empty_matrix(len(request.loaded.ensemble)), None)  # fmt: skip
        return matrix.matrix_csv(request.loaded, request.state, measured), f"transfer-{run}.csv"
    if kind == "history":
        if request.loaded.run.config.imported:
            raise UsageError(f"{run} was trained elsewhere: there is no history of its training to save")
        return history_csv(library, run), f"history-{run}.csv"
    logits = assemble([slices.samples(view, level) for level in range(min(FINEST + 1, view.levels))], view.grids)
    write: Callable[..., bytes] = slice_csv if kind == "csv" else slice_npz
    arguments = (view, logits) if kind == "csv" else (view, attacks, logits)
    return write(*arguments), f"slices-{run}.{kind}"


def caption(request: PageRequest, attacks: AttackPaths) -> str:
    """Say what a saved figure shows: run, checkpoint, image, attack."""
    state = request.state
    norm, name = NORM_LABELS[state.norm], class_label(attacks.class_names, attacks.y, IN_KEY)
    return (
        f"{state.run}, {shown_checkpoint(request.loaded)}, {image_name(request)} (class {name}); "
        f"{attacks.attack}, ε {state.eps:g} ({norm}), seed {state.seed}; weights {request.loaded.digest[:12]}"
    )


def saved_figure(request: PageRequest, view: SliceView, attacks: AttackPaths, logits: np.ndarray, *, look: str) -> Json:
    """Return the slices as a figure of its own, with a caption.

    look: one of `theme.LOOKS`.

    It is PAGE_PX wide, so that its letters are legible at the width of a page; a PNG of more pixels is the same figure, enlarged.
    """
    state = request.state
    data = slice_to_draw(view, logits)
    hidden = state.hidden()
    surrogate = the(view.models[state.surrogate])
    marks = f"★ start; solid: attack on the panel's model, dashed: on {surrogate}; ✕ fools, ○ does not; outline: ε-ball"
    marks += "" if view.plane.kind == "domain" else "; hatched: not in [0, 1]"
    figure = slice_spec(
        data, attacks_to_draw(attacks), surrogate=state.surrogate, hidden=hidden, look=look,
        caption=f"{caption(request, attacks)}\n{marks}",
        layer=state.layer, y=view.y,
    )  # fmt: skip
    figure["layout"] |= figure_size(figure, len(view.models) - len(hidden), width=PAGE_PX)
    if look != "print":
        figure["layout"] |= {"paper_bgcolor": LOOKS[look].paper}
    return figure


def saved_matrix(request: PageRequest, attacks: AttackPaths, measured: object, *, look: str) -> Json:
    """Return the matrix, as far as it is measured, as a figure of its own with a caption. look: one of `theme.LOOKS`."""
    state, members = request.state, len(request.loaded.ensemble)
    transfer = measured.matrix if isinstance(measured, matrix.PartialMatrix) else matrix.empty_matrix(members)
    examples = DATA[request.loaded.data.name].examples
    interval = "" if members > SMALL else "(95 % interval, n); "
    words = (
        f"{state.run}, {shown_checkpoint(request.loaded)}; % of the {examples} that fool the attacked model\n"
        f"{interval}{attacks.attack}, ε {state.eps:g} ({NORM_LABELS[state.norm]}), seed {state.seed},\n"
        f"first {transfer.n} test {examples}; weights {request.loaded.digest[:12]}"
    )
    figure = matrix_spec(matrix_to_draw(transfer), look=look, caption=words)
    figure["layout"]["width"] = matrix_width(members + 1)
    if look != "print":
        figure["layout"]["paper_bgcolor"] = LOOKS[look].paper
    return figure


def handout(request: PageRequest, figure: Json, attacks: AttackPaths, view: SliceView, measured: object) -> str:
    """Return one offline HTML file: the figure, the matrix as far as it is measured, and how to read both."""
    body = figure_html(figure)
    drawn = figure_html(saved_matrix(request, attacks, measured, look="print"), script=False)
    table = matrix.matrix_table(measured.matrix, buttons=False) if isinstance(measured, matrix.PartialMatrix) else None
    words = [attack_caption(view, attacks, request.state), slice_caption(view, request.state), caption(request, attacks)]
    text = "".join(f"<p>{markup(part)}</p>" for part in words)
    style = "body{font:15px/1.4 system-ui,sans-serif;margin:1.5rem}td,th{padding:.2rem .6rem;text-align:left}small{display:block}"
    title = markup(f"trs explore: {request.state.run}")
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{style}</style></head>'
        f"<body><h1>{title}</h1>{body}{text}<h2>Transfer</h2>{drawn}{markup(table) if table else ''}</body></html>"
    )


def history_csv(library: Library, run: str) -> bytes:
    """Write one row per step and loss term."""
    steps = (parse_step(event) for event in library.events(run) if event["kind"] == "step")
    rows = ((step.step, term, value) for step in steps for term, value in step.terms.items())
    return to_csv(("step", "term", "value"), rows).encode()


def slice_csv(view: SliceView, logits: np.ndarray) -> bytes:
    """Write one row per grid point and member: coordinates and logits. The first line has the weights' hash.

    Of more than MOST_LOGITS classes, only those that occur have a column.
    logits: [row (b), column (a), member, class].
    """
    n, members, classes = logits.shape[0], logits.shape[2], range(logits.shape[3])
    names, left_out = view.class_names, ""
    if len(classes) > MOST_LOGITS:  # a file of 1,000 logits a point would have hundreds of megabytes
        occur = np.unique(logits.argmax(-1)).tolist()
        left_out = f"; {len(classes)} classes, of which those have a column that are predicted somewhere, and the true class"
        classes = sorted({*occur, view.y})
        logits = logits[..., classes]
    along = np.linspace(view.low, view.high, n)
    head = ("a", "b", "member", *(f"logit {whole_label(names, c)}" for c in classes))
    rows = (
        (f"{along[column]:.6g}", f"{along[row]:.6g}", view.models[m], *(f"{v:.6g}" for v in logits[row, column, m]))
        for row in range(n)
        for column in range(n)
        for m in range(members)
    )
    about = f"weights {view.digest}; axes: {view.plane.names[0]} / {view.plane.names[1]}"
    about += f"; true class {whole_label(names, view.y)}{left_out}"
    return to_csv(head, rows, about=about).encode()


def slice_npz(view: SliceView, attacks: AttackPaths, logits: np.ndarray) -> bytes:
    """Write logits [row (b), column (a), member, class], the axes, the plane's vectors, the outlines and the attack paths."""
    along = np.linspace(view.low, view.high, len(logits))
    buffer = io.BytesIO()
    paths = {f"path_{name}": path for name, path in zip(view.models, attacks.paths, strict=True)}
    plane = {"origin": view.plane.origin.numpy(), "u": view.plane.u.numpy(), "v": view.plane.v.numpy()}
    about = {"weights": np.array(view.digest), "axes": np.array(view.plane.names), "y": np.array(view.y)}
    about["class_names"] = np.array([whole_label(view.class_names, c) for c in range(logits.shape[-1])])
    np.savez_compressed(buffer, logits=logits, a=along, b=along, ball=attacks.ball, box=view.box, **plane, **paths, **about)
    return buffer.getvalue()
