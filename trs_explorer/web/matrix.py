"""The transfer matrix on the page while it is being measured, and example images of one of its cells."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from dash import html

from trs_explorer.attack_catalogue import is_custom
from trs_explorer.attacks.options import transfer_kwargs
from trs_explorer.catalogue import DATA
from trs_explorer.class_labels import IN_TITLE, class_label, whole_label
from trs_explorer.evaluation.accuracy import Rate
from trs_explorer.evaluation.transfer import TransferMatrix, measure_transfer
from trs_explorer.explore.compute_lock import PROCESS_LOCK
from trs_explorer.explore.jobs import Snapshot
from trs_explorer.explore.library import Loaded
from trs_explorer.explore.pictures import data_uri, difference, thumbnail
from trs_explorer.explore.slice_plane import model_names, the
from trs_explorer.tables import to_csv
from trs_explorer.web.attack_paths import configured_attack, outside_ball
from trs_explorer.web.code_errors import readable_code_errors
from trs_explorer.web.controls import NORM_LABELS, sets
from trs_explorer.web.history import shown_checkpoint
from trs_explorer.web.robust_accuracy import BATCH, evaluation_attack, first_images, robust_accuracies
from trs_explorer.web.state import ATTACK_OPTION_FIELDS, State, is_plane

EXAMPLES = 6
THUMBNAIL_PX = 168  # of the longer side
LARGE = 6  # members, above which cells have their rate alone, and the table a class that makes it wide


@dataclass(frozen=True)
class PartialMatrix:
    """A transfer matrix as far as it is measured, then the robust accuracy of the ensemble as far as that is."""

    matrix: TransferMatrix
    robust: Rate | None


def matrix_key(loaded: Loaded, state: State) -> tuple:
    """Return everything that the measurement depends on."""
    images = loaded.data.name, loaded.data.fingerprint
    attack = state.eps, state.norm, state.attack, *(getattr(state, name) for name in ATTACK_OPTION_FIELDS)
    return loaded.identity, *images, state.seed, *attack, state.n


def measure_matrix(loaded: Loaded, state: State, *, member_attack: str = "") -> Iterator[PartialMatrix]:
    """Measure the matrix on the first n test images, row by row in batches; then the attack on the ensemble.

    member_attack: the attack on the members, if it is not the one on the ensemble.
    """
    x, y = first_images(loaded.data, state.n)
    _, attack = configured_attack(replace(state, attack=member_attack or state.attack))
    attack = PROCESS_LOCK.yielding(attack)
    matrix = None
    for matrix in measure_transfer(loaded.ensemble, x, y, attack=attack, ensemble_column=True, seed=state.seed, batch_size=BATCH):
        yield PartialMatrix(matrix, None)
    assert matrix is not None
    for _, rate in robust_accuracies(loaded.ensemble, x, y, [evaluation_attack(state)], seed=state.seed):
        if rate.n:
            yield PartialMatrix(matrix, rate)


def empty_matrix(members: int) -> TransferMatrix:
    """Return a matrix without any image, which the page shows until the first batch is done."""
    zeros = [[0] * (members + 1) for _ in range(members)]
    return TransferMatrix(zeros, zeros, 0, ensemble_column=True)


def matrix_table(
    matrix: TransferMatrix, *, buttons: bool = True, selected: tuple[int, int] | None = None, about: str = ""
) -> html.Table:
    """Build the table: rows are surrogates, columns targets.

    buttons: a click on a cell selects its pair in the state.
    selected: (surrogate, target) of the cell that is marked.
    about: of which attack, for its caption.
    """
    names = model_names(len(matrix.fooled))
    head = html.Tr([html.Td(), *(html.Th(name, scope="col") for name in names)])
    rows = [
        html.Tr(
            [
                html.Th(names[i], scope="row"),
                *(html.Td(_cell(matrix, i, j, names, buttons, pressed=(i, j) == selected)) for j in range(len(row))),
            ]
        )
        for i, row in enumerate(matrix.fooled)
    ]
    large = len(matrix.fooled) > LARGE
    shown = "transfer rate in %, interval and counts under the mouse" if large else "transfer rate in %, 95 % interval, counts"
    caption = f"{about}{shown}. Attack made on ↓, fools\N{NO-BREAK SPACE}→"
    return html.Table([html.Caption(caption), html.Thead(head), html.Tbody(rows)], **({"className": "large"} if large else {}))


def matrix_settings(state: State, loaded: Loaded, n: int) -> str:
    """Return the settings of a measurement for the table's caption. n: how many images every surrogate has so far."""
    count = min(state.n, len(loaded.data))
    images = (
        f"{n} {DATA[loaded.data.name].examples}" if n == count else f"{n} of {count} {DATA[loaded.data.name].examples} so far"
    )
    return f"{configured_attack(state)[0]}, ε {state.eps:g}, {images}: "


def _cell(matrix: TransferMatrix, i: int, j: int, names: list[str], button: bool, *, pressed: bool) -> html.Button | html.Span:
    fooled, eligible, rate = matrix.fooled[i][j], matrix.eligible[i][j], matrix.rate(i, j)
    low, high = matrix.interval(i, j)
    number = "-" if rate is None else f"{100 * rate:.0f}"
    label = f"attack on {names[i]}, target {names[j]}: " + (
        f"{number} % ({100 * low:.0f} to {100 * high:.0f}), {fooled} of {eligible}"
        if rate is not None
        else "nothing measured yet"
    )
    counts = [html.Small(f"{100 * low:.0f}-{100 * high:.0f}"), html.Br(), html.Small(f"{fooled}/{eligible}")]
    content = [html.B(number), *(counts if rate is not None and len(matrix.fooled) <= LARGE else [])]
    # The colour repeats the number: the stronger the orange, the higher the rate.
    style = {"title": label, "style": {"background": f"rgba(var(--hot), {0.03 + 0.42 * (rate or 0):.2f})"}}
    if not button:
        return html.Span(content, className="cell", **style)
    action = sets(surrogate=str(i), target=str(j), **({"plane": "gradients"} if i != j else {}))
    named = {"data-cell": f"{i},{j}", "aria-label": label, "aria-pressed": "true" if pressed else "false"}
    return html.Button(content, **style, **named, **action)


def matrix_caption(snapshot: Snapshot, state: State, loaded: Loaded) -> list:
    """Describe the matrix: settings and denominator, then the pooled transfer rate, the robust accuracy and the progress."""
    if snapshot.state == "failed":
        return [html.Span(f"The matrix could not be measured: {snapshot.error}", className="warn")]
    partial = snapshot.value
    if not isinstance(partial, PartialMatrix):
        return ["starting ..."]
    name, _ = configured_attack(state)
    count = min(state.n, len(loaded.data))
    norm, examples = NORM_LABELS[state.norm], DATA[loaded.data.name].examples
    sentences = [
        f"{shown_checkpoint(loaded)}: {name}, ε {state.eps:g} ({norm}), seed {state.seed}, first {count} test "
        f"{examples}; 95 % intervals, counted over {examples} both models classify correctly and on which the attack fools the "
        "surrogate (Def. 6)."
    ]
    fooled, eligible = partial.matrix.pooled()
    if eligible and partial.matrix.n == count:
        low, high = partial.matrix.pooled_interval()
        interval = f"({100 * low:.1f}-{100 * high:.1f})"
        sentences.append(f"Transfer over all pairs of members: {100 * fooled / eligible:.1f} % {interval}, {fooled}/{eligible}.")
    if len(partial.matrix.fooled) == 1:
        sentences.append("A single member has no pair: the matrix has the attack on it alone.")
    if partial.robust and partial.robust.n == count:
        rate = partial.robust
        share = f"{100 * rate.correct / rate.n:.1f} % ({100 * rate.low:.1f}-{100 * rate.high:.1f})"
        sentences.append(f"Ensemble robust accuracy: {rate.correct}/{rate.n}, {share}.")
        if outside := outside_ball(name, rate.perturbation, state):
            sentences.append(f"{outside} These figures do not count.")
    if snapshot.state == "running":
        done = partial.robust.n if partial.robust else partial.matrix.n
        sentences.append(f"{'Attacking the ensemble' if partial.robust else 'Measuring'}: {done} of {count} {examples} ...")
    return [" ".join(sentences)]


def matrix_summary(snapshot: Snapshot, state: State, loaded: Loaded) -> str:
    """Return the last sentences of `matrix_caption`: the pooled rate, the robust accuracy, the progress."""
    words = matrix_caption(snapshot, state, loaded)[0]
    return words.partition("(Def. 6). ")[2] if isinstance(words, str) else ""


@readable_code_errors
def example_thumbnails(loaded: Loaded, state: State, matrix: TransferMatrix) -> list:
    """Build thumbnails for the selected cell: clean image, adversarial image, difference. A click shows the image's slices.

    The attack is run again, with the same noise, up to the last image shown.
    """
    i, j = state.surrogate, state.target
    if i >= len(matrix.outcomes) or is_plane(loaded.data.name):
        return []
    names, classes = model_names(len(matrix.outcomes)), DATA[loaded.data.name].class_names
    indices = [k for k, letter in enumerate(matrix.outcomes[i][j]) if letter == "1"][:EXAMPLES]
    if not indices:
        return [html.P(f"No image of the attack on {names[i]} fools {the(names[j])} among those tried.")]
    _, attack = configured_attack(state)
    adversarial = _adversarial_images(loaded, state, attack, i, indices, measured=matrix.n)
    clean = loaded.data.images(torch.tensor(indices))
    thumbnails = []
    for k, x, x_adv in zip(indices, clean, adversarial, strict=True):
        change, change_text = difference(x, x_adv)
        y, predicted = int(loaded.data.y[k]), int(_prediction(loaded, j, x_adv))
        pictures = [
            html.Img(src=data_uri(thumbnail(picture, THUMBNAIL_PX)), alt=alt)
            for picture, alt in (
                (x, f"image {k}, class {whole_label(classes, y)}"),
                (x_adv, f"adversarial: {the(names[j])} predicts {whole_label(classes, predicted)}"),
                (change, change_text),
            )
        ]
        button = html.Button(pictures, title=f"show image {k} in the slices", **sets(image=k, own="", start=""))
        named = [class_label(classes, c, IN_TITLE) for c in (y, predicted)]
        thumbnails.append(html.Figure([button, html.Figcaption(f"{k}: {named[0]} → {named[1]}")]))
    return thumbnails


def _adversarial_images(
    loaded: Loaded, state: State, attack: Callable, surrogate: int, indices: list[int], *, measured: int
) -> torch.Tensor:
    """Recompute the adversarial images at some indices: an image's noise depends on its place among all before it.

    In attacks of others, it may depend on all images of its batch. measured: how many images the matrix has.
    """
    generator = torch.Generator().manual_seed(state.seed)
    model, parts = loaded.ensemble.members[surrogate], []
    begins = range(0, indices[-1] + 1, BATCH)
    end = min(begins[-1] + BATCH, measured) if is_custom(state.attack) else indices[-1] + 1
    edges = [*begins, end]
    for begin, end in pairwise(edges):
        x, y = loaded.data.images(slice(begin, end)), loaded.data.y[begin:end]
        x_adv = attack(model, x, y, generator=generator, **transfer_kwargs(attack))
        parts.append(x_adv[[k - begin for k in indices if begin <= k < end]])
    return torch.cat(parts)


def _prediction(loaded: Loaded, model: int, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return (loaded.ensemble if model == len(loaded.ensemble) else loaded.ensemble.members[model])(x[None]).argmax(-1)[0]


def matrix_csv(loaded: Loaded, state: State, partial: PartialMatrix) -> bytes:
    """Write one row per cell: fooled, eligible, rate and its 95 % interval. The first line names weights and settings."""
    name, _ = configured_attack(state)
    names = model_names(len(partial.matrix.fooled))
    about = f"{loaded.name}, weights {loaded.digest}; {name}, eps {state.eps:g}, {state.norm}, seed {state.seed}, "
    about += f"{partial.matrix.n} {DATA[loaded.data.name].examples}"
    rows = []
    for i, row in enumerate(partial.matrix.fooled):
        for j, fooled in enumerate(row):
            rate, (low, high) = partial.matrix.rate(i, j), partial.matrix.interval(i, j)
            share = "" if rate is None else f"{rate:.6g}"
            rows.append((names[i], names[j], fooled, partial.matrix.eligible[i][j], share, f"{low:.6g}", f"{high:.6g}"))
    return to_csv(("surrogate", "target", "fooled", "eligible", "rate", "low", "high"), rows, about=about).encode()
