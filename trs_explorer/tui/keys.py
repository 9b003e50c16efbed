"""Every key of the dashboard, once: bindings, help screen, palette and the line at the foot are made of this table."""

from collections.abc import Sequence
from dataclasses import dataclass

from trs_explorer.tui.look import Look


@dataclass(frozen=True)
class Key:
    """keys: textual's names, comma-separated. label: as people call them. short: for the line at the foot, if it is there.

    group: "train" asks the trainer, "replay" moves in time, "view" does neither.
    """

    keys: str
    action: str
    label: str
    text: str
    group: str
    short: str = ""


KEYS = (
    Key("space", "pause", "space", "pause or resume the training; in the past, the replay", "train", "pause"),
    Key("s", "save", "s", "save a checkpoint now", "train", "save"),
    Key("left_square_bracket", "scale(0, 0.8)", "[", "lower lambda_a (similarity), x 0.8, or another first weight", "train"),
    Key("right_square_bracket", "scale(0, 1.25)", "]", "raise lambda_a, or another first weight, x 1.25", "train"),
    Key("left_curly_bracket", "scale(1, 0.8)", "{", "lower lambda_b (smoothness), x 0.8, or another second weight", "train"),
    Key("right_curly_bracket", "scale(1, 1.25)", "}", "raise lambda_b, or another second weight, x 1.25", "train"),
    Key("n", "note", "n", "write a note into the run", "train", "note"),
    Key("X", "stop", "X", "stop the training after this step (it saves first)", "train"),
    Key("left", "replay('stride', -1)", "left", "back in time, by a hundredth of the log", "replay"),
    Key("right", "replay('stride', 1)", "right", "on in time", "replay"),
    Key("shift+left", "replay('move', -1)", "shift+left", "back by one event", "replay"),
    Key("shift+right", "replay('move', 1)", "shift+right", "on by one event", "replay"),
    Key("comma", "replay('jump', -1)", ",", "to the mark or checkpoint before", "replay"),
    Key("full_stop", "replay('jump', 1)", ".", "to the next mark or checkpoint", "replay"),
    Key("home", "replay('start')", "home", "to the first event", "replay"),
    Key("end", "replay('end')", "end", "to the newest event, and follow it", "replay"),
    Key("r", "replay('play')", "r", "replay from here, or hold", "replay", "replay"),
    Key("plus,equals_sign", "replay('speed', 1)", "+", "replay faster", "replay"),
    Key("minus", "replay('speed', -1)", "-", "replay slower", "replay"),
    Key("p", "picture", "p", "keep this screen as an SVG picture", "view", "picture"),
    Key("t", "theme", "t", "next theme: dark, light, the terminal's own colours", "view"),
    Key("question_mark", "help", "?", "this help", "view", "help"),
    Key("q,ctrl+q", "leave", "q", "leave; a training goes on, or is asked to stop", "view", "leave"),
)

HELP = """
tab      next panel; up, down, page up, page down scroll it
ctrl+p   palette: every command by name, all themes

|cos|    mean over images of |cos| between two members'
         input gradients; 0 is orthogonal
transfer of the images that both members get right and
         on which the attack on the row's member
         (surrogate) fooled it, the share that fools the
         column's (target) too; in one number: all pairs
         of different members added up. The diagonal is
         the attack's success on the member itself
letters  each loss curve carries the letter of its term,
         a capital one if it is the other run's
ghosts   paths of shipped runs on the same data:
         P plain (standard), C cos-only, S smooth-only,
         D DVERGE, T TRS; V the other run
marks    checkpoints, changes, resumes (R): at the foot

Every change is recorded in the run's events."""


def help_text() -> str:
    """What the keys do and what the words mean."""
    return "\n".join(f"{key.label:<12}{key.text}" for key in KEYS) + "\n" + HELP


def foot(look: Look, width: int, *, controls: bool, weights: Sequence[str]) -> str:
    """As many of the keys as fit, the most needed ones first; controls: whether a trainer listens to changes of weights."""
    scales = [f"{keys} {look.weight(name)}" for keys, name in zip(("[ ]", "{ }"), weights, strict=False)]
    train = [f"{key.label} {key.short}" for key in KEYS if key.group == "train" and key.short]
    train = [*train[:2], *scales, *train[2:]] if controls else []
    arrows = "<- -> scrub" if look.ascii else "←→ scrub"
    replay = [arrows, "r replay", ", . marks", "+ - speed"]
    must = ["q leave", "? help"]
    may = [*train[:2], *replay[:2], *train[2:], *replay[2:], "p picture", "t theme", "^p palette"]
    order = [*train, *replay, "p picture", "t theme", "? help", "^p palette", "q leave"]
    shown = must
    for one in may:
        if len("  ".join([*shown, one])) > width:
            break
        shown = [*shown, one]
    return "  ".join(sorted(shown, key=order.index))
