"""The transfer matrix as it fills, and examples out of one of its cells."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from dash import html

from trs_explorer.attacks.search import transfer_kwargs
from trs_explorer.evaluation.accuracy import Rate
from trs_explorer.evaluation.intervals import wilson
from trs_explorer.evaluation.transfer import TransferMatrix, measure_transfer
from trs_explorer.explore.library import Loaded
from trs_explorer.explore.live import Snapshot, polite
from trs_explorer.explore.pictures import data_uri, difference, png
from trs_explorer.tables import to_csv
from trs_explorer.web.history import epoch_words
from trs_explorer.web.layout import setting
from trs_explorer.web.robust import BATCH, attack_on, first_images, robust
from trs_explorer.web.scene import names_of, the
from trs_explorer.web.state import State, is_plane
from trs_explorer.web.walks import attack_of

EXAMPLES = 6


@dataclass(frozen=True)
class Measured:
    """A matrix so far, and the attack on the ensemble itself so far."""

    matrix: TransferMatrix
    robust: Rate | None


def key(loaded: Loaded, state: State) -> tuple:
    """What a measurement depends on."""
    images = loaded.data.name, loaded.data.fingerprint
    return loaded.digest, *images, state.seed, state.eps, state.norm, state.attack, state.steps, state.n


def measuring(loaded: Loaded, state: State, *, pairs: str = "") -> Iterator[Measured]:
    """The matrix on the first n test images, row by row in batches; then the attack on the ensemble itself.

    pairs: the attack on the members, if that is another than the one on the ensemble.
    """
    x, y = first_images(loaded.data, state.n)
    _, attack = attack_of(replace(state, attack=pairs or state.attack))
    attack = polite(attack)
    matrix = None
    for matrix in measure_transfer(loaded.ensemble, x, y, attack=attack, ensemble_column=True, seed=state.seed, batch_size=BATCH):
        yield Measured(matrix, None)
    assert matrix is not None
    for _, rate in robust(loaded.ensemble, x, y, [attack_on(state)], seed=state.seed):
        if rate.n:
            yield Measured(matrix, rate)


def nothing_yet(members: int) -> TransferMatrix:
    """A matrix in which no image has been tried: what stands on the page until the first has been."""
    empty = [[0] * (members + 1) for _ in range(members)]
    return TransferMatrix(empty, empty, 0, ensemble_column=True)


def matrix_table(matrix: TransferMatrix, *, buttons: bool = True) -> html.Table:
    """Rows = surrogate, columns = target. buttons: a cell puts its pair into the state when it is clicked."""
    names = names_of(len(matrix.fooled))
    head = html.Tr([html.Th("on \\ fools", scope="col"), *(html.Th(name, scope="col") for name in names)])
    rows = [
        html.Tr([html.Th(names[i], scope="row"), *(html.Td(_cell(matrix, i, j, names, buttons)) for j in range(len(row)))])
        for i, row in enumerate(matrix.fooled)
    ]
    return html.Table([html.Caption("transfer rate, %: rows surrogate, columns target"), html.Thead(head), html.Tbody(rows)])


def _cell(matrix: TransferMatrix, i: int, j: int, names: list[str], button: bool) -> html.Button | html.Span:
    fooled, eligible, rate = matrix.fooled[i][j], matrix.eligible[i][j], matrix.rate(i, j)
    low, high = matrix.interval(i, j)
    number = "-" if rate is None else f"{100 * rate:.0f}"
    words = f"attack on {names[i]}, target {names[j]}: " + (
        f"{number} % ({100 * low:.0f} to {100 * high:.0f}), {fooled} of {eligible} images" if rate is not None else "no image yet"
    )
    inside = [html.B(number), html.Small(f"{100 * low:.0f}-{100 * high:.0f}"), html.Br(), html.Small(f"{fooled}/{eligible}")]
    # The colour repeats the number: stronger orange, more transfer.
    looks = {"title": words, "style": {"background": f"rgba(var(--hot), {0.03 + 0.42 * (rate or 0):.2f})"}}
    if not button:
        return html.Span(inside, className="cell", **looks)
    picks = setting(surrogate=i, target=j, **({"plane": "gradients"} if i != j else {}))
    return html.Button(inside, **looks, **{"data-cell": f"{i},{j}", "aria-label": words, "aria-pressed": "false"}, **picks)


def matrix_words(snapshot: Snapshot, state: State, loaded: Loaded) -> list:
    """What the matrix is of, how far it is, and what the attack on the ensemble itself leaves."""
    name, _ = attack_of(state)
    count = min(state.n, len(loaded.data))
    norm = "L2" if state.norm == "l2" else "max norm"
    about = (
        f"{epoch_words(loaded.checkpoint)}: {name}, eps {state.eps:g} ({norm}), seed {state.seed}, first {count} test images; "
    )
    about += "95 % intervals; of the images that both have right and on which the surrogate falls (Def. 6)."
    if snapshot.state == "failed":
        return [html.Span(f"The matrix could not be measured: {snapshot.error}", className="warn")]
    found = snapshot.value
    if not isinstance(found, Measured):
        return ["starting ..."]
    words = [about]
    fooled, eligible = found.matrix.pooled()
    if eligible and found.matrix.n == count:
        low, high = wilson(fooled, eligible)
        words.append(f" Pairs together {100 * fooled / eligible:.1f} % ({100 * low:.1f}-{100 * high:.1f}), {fooled}/{eligible}.")
    if found.robust and found.robust.n == count:
        rate = found.robust
        share = f"{100 * rate.correct / rate.n:.1f} % ({100 * rate.low:.1f}-{100 * rate.high:.1f})"
        words.append(f" Attacked itself, the ensemble is right on {rate.correct} of all {rate.n}: {share}.")
    if snapshot.state == "running":
        done = found.robust.n if found.robust else found.matrix.n
        words.append(f" {'The ensemble itself' if found.robust else 'Measuring'}: {done} of {count} ...")
    return ["".join(words)]


def strip(loaded: Loaded, state: State, matrix: TransferMatrix) -> list:
    """Images of the chosen cell: clean, adversarial, difference; a click takes one to the slices.

    The attack is run again with the noise that the measurement had, up to the last image shown.
    """
    i, j = state.surrogate, state.target
    if i >= len(matrix.outcomes) or is_plane(loaded.data.name):
        return []
    names = names_of(len(matrix.outcomes))
    hits = [k for k, letter in enumerate(matrix.outcomes[i][j]) if letter == "1"][:EXAMPLES]
    if not hits:
        return [html.P(f"So far no image of the attack on {names[i]} fools {the(names[j])}.")]
    _, attack = attack_of(state)
    adversarial = _again(loaded, state, attack, i, hits)
    clean = loaded.data.images(torch.tensor(hits))
    found = []
    for k, x, x_adv in zip(hits, clean, adversarial, strict=True):
        changed, words = difference(x, x_adv)
        y, seen = int(loaded.data.y[k]), int(_answer(loaded, j, x_adv))
        pictures = [html.Img(src=data_uri(png(p)), alt=alt) for p, alt in
                    ((x, f"image {k}, a {y}"), (x_adv, f"attacked: {the(names[j])} sees {seen}"), (changed, words))]  # fmt: skip
        caption = html.Figcaption(f"{k}: {y} → {seen}")
        found.append(
            html.Figure([html.Button(pictures, title=f"image {k} in the slices", **setting(image=k, own="", start="")), caption])
        )
    return found


def _again(loaded: Loaded, state: State, attack: Callable, surrogate: int, hits: list[int]) -> torch.Tensor:
    """The adversarial images of `hits`, with the noise they had: an image's noise depends on its place among all before it."""
    generator = torch.Generator().manual_seed(state.seed)
    model, parts = loaded.ensemble.members[surrogate], []
    edges = [*range(0, hits[-1] + 1, BATCH), hits[-1] + 1]
    for begin, end in pairwise(edges):
        x, y = loaded.data.images(slice(begin, end)), loaded.data.y[begin:end]
        x_adv = attack(model, x, y, generator=generator, **transfer_kwargs(attack))
        parts.append(x_adv[[k - begin for k in hits if begin <= k < end]])
    return torch.cat(parts)


def _answer(loaded: Loaded, model: int, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return (loaded.ensemble if model == len(loaded.ensemble) else loaded.ensemble.members[model])(x[None]).argmax(-1)[0]


def as_csv(loaded: Loaded, state: State, found: Measured) -> bytes:
    """A row a cell: fooled, eligible, rate and its 95 % interval; in the first line, of what."""
    name, _ = attack_of(state)
    names = names_of(len(found.matrix.fooled))
    about = f"{loaded.name}, weights {loaded.digest}; {name}, eps {state.eps:g}, {state.norm}, seed {state.seed}, "
    about += f"{found.matrix.n} images"
    rows = []
    for i, row in enumerate(found.matrix.fooled):
        for j, fooled in enumerate(row):
            rate, (low, high) = found.matrix.rate(i, j), found.matrix.interval(i, j)
            share = "" if rate is None else f"{rate:.6g}"
            rows.append((names[i], names[j], fooled, found.matrix.eligible[i][j], share, f"{low:.6g}", f"{high:.6g}"))
    return to_csv(("surrogate", "target", "fooled", "eligible", "rate", "low", "high"), rows, about=about).encode()
