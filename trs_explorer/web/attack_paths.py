"""Attack paths in a slice: what an attack on each model does from the chosen start, in the slice's coordinates."""

from collections.abc import Callable
from functools import partial

from trs_explorer.attack_catalogue import ATTACKS, is_custom, options_for
from trs_explorer.attack_labels import Label
from trs_explorer.catalogue import DATA
from trs_explorer.class_labels import IN_SENTENCE, class_label
from trs_explorer.evaluation.accuracy import leaves_ball
from trs_explorer.explore.compute_lock import PROCESS_LOCK
from trs_explorer.explore.library import Loaded
from trs_explorer.explore.plane_attacks import AttackPaths, attacks_in_plane
from trs_explorer.explore.slice_plane import the
from trs_explorer.explore.starts import Start, start_at, start_of
from trs_explorer.web import custom_attacks
from trs_explorer.web.code_errors import readable_code_errors
from trs_explorer.web.controls import NORM_LABELS
from trs_explorer.web.slice_view import SliceView
from trs_explorer.web.state import State

OFF_PLANE = 0.005  # a result that is nearer lies on the plane, to the digits that are shown


def configured_attack(state: State) -> tuple[str, Callable]:
    """Return the name of the state's attack with its steps, and the attack with its options bound."""
    function = custom_attacks.function(state.attack)
    if is_custom(state.attack):
        return _configured_custom(state, function)
    # 10 steps of eps/10 could not turn round: fewer steps are longer, as in the probe during training
    step_size = state.step_size or state.eps * max(0.1, 2.5 / state.steps)
    options = {"steps": state.steps, "step_size": step_size, "norm": state.norm, "restarts": state.restarts}
    if state.attack == "bim" and not state.step_size:
        del options["step_size"]  # its default, eps / steps, is what makes it BIM
    if state.loss not in ("default", ATTACKS[state.attack].loss):
        options["loss"] = state.loss
    options = options_for(state.attack, options)
    label = Label(state.attack, options.get("loss", ""), options.get("steps"), options.get("restarts", 1))
    name = str(label).upper() + (f", STEP {state.step_size:g}" if state.step_size and "step_size" in options else "")
    return name, partial(function, eps=state.eps, **options)


def _configured_custom(state: State, function: Callable) -> tuple[str, Callable]:
    """Return the same of an attack of others: its options are its own."""
    options = custom_attacks.all_options(state.attack, state.options)
    if custom_attacks.takes(state.attack, "norm"):
        options["norm"] = custom_attacks.about(state.attack).custom_options["norm"].check(state.norm)
    chosen = custom_attacks.parse_options(state.attack, state.options)[0]
    name = ", ".join([state.attack, *(f"{key} {value}" for key, value in chosen.items())])
    return name, partial(function, eps=state.eps, **options)


def attack_start(state: State, view: SliceView) -> Start:
    """Return where the attacks start."""
    point = state.point()
    return start_of(view.plane, view.x) if point is None else start_at(view.plane, point)


@readable_code_errors
def make_attack_paths(loaded: Loaded, state: State, view: SliceView) -> AttackPaths:
    """Run the state's attack on every model, and project what it visits on the slice."""
    name, attack = configured_attack(state)
    if view.is_heavy:
        attack = PROCESS_LOCK.yielding(attack)
    start = attack_start(state, view)
    return attacks_in_plane(
        loaded.ensemble,
        start,
        view.y,
        attack,
        name=name,
        eps=state.eps,
        norm=state.norm,
        seed=state.seed,
        together=not is_custom(state.attack),
        class_names=DATA[loaded.data.name].class_names,
    )


def outside_ball(name: str, distance: float, state: State) -> str:
    """Say that an attack, which is one of others, has moved an image by more than its radius; empty if it has not."""
    if not leaves_ball(distance, state.eps):
        return ""
    return f"{name} leaves its ball: it moved an image by {distance:.4g} ({NORM_LABELS[state.norm]}), more than ε {state.eps:g}."


def attack_caption(view: SliceView, attacks: AttackPaths, state: State) -> str:
    """Say which attacks a slice shows, and by which marks."""
    off_plane, surrogate = attacks.off_plane[state.surrogate], the(view.models[state.surrogate])
    sentences = [
        f"{attacks.attack}, ε {state.eps:g} ({NORM_LABELS[state.norm]}).",
        f"Title and solid path: the attack on the panel's own model; dashed: on {surrogate}.",
        "✕ fools the panel's model, ○ does not.",
        outside_ball(attacks.attack, max(attacks.distances), state),
        f"Marks are projections of results off the plane (on {surrogate}: by {off_plane:.2f}): the class there may be another, "
        "and they may lie outside the ball's outline." if off_plane > OFF_PLANE else "",
        "" if view.plane.kind == "domain" else "Hatched: outside [0, 1] (not a valid image).",
    ]  # fmt: skip
    return " ".join(filter(None, sentences))


def slice_caption(view: SliceView, state: State) -> str:
    """Explain the outlines in a slice, and the limits of what a slice shows."""
    is_domain = view.plane.kind == "domain"
    units = "Axes: the inputs themselves" if is_domain else "Axes: L2 distance from the image (each pixel in [0, 1])"
    outline = "" if is_domain else "; dotted outline: [0, 1]"
    sentences = [
        f"True class: {class_label(view.class_names, view.y, IN_SENTENCE)} ({view.label_source}).",
        f"{units}. ★ start of the attack. Solid outline: the ball of ε {state.eps:g} around it{outline}.",
        "" if is_domain else "A plane shows two directions of many: trust the matrix for rates.",
    ]
    return " ".join(filter(None, sentences))
