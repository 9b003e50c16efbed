"""All keys of the dashboard: bindings, help screen, palette and the key line at the bottom are made from this table."""

from collections.abc import Sequence
from dataclasses import dataclass

from trs_explorer.tui.formatting import Format


@dataclass(frozen=True)
class Key:
    """A key and what it does.

    keys: textual's names, separated by commas.  action: of the app.  label: the key's name for people.  text: what it does.
    group: "train" sends a request to the trainer, "replay" moves in time, "view" does neither.
    short: its name in the key line; empty if it is not there.
    """

    keys: str
    action: str
    label: str
    text: str
    group: str
    short: str = ""


KEYS = (
    Key("space", "pause", "space", "pause or resume the training (or the replay)", "train", "pause"),
    Key("s", "save", "s", "save a checkpoint now", "train", "save"),
    Key("left_square_bracket", "scale(0, 0.8)", "[", "lower lambda_a (similarity), or the first weight: times 0.8", "train"),
    Key("right_square_bracket", "scale(0, 1.25)", "]", "raise lambda_a (similarity), or the first weight: times 1.25", "train"),
    Key("left_curly_bracket", "scale(1, 0.8)", "{", "lower lambda_b (smoothness), or the second weight: times 0.8", "train"),
    Key("right_curly_bracket", "scale(1, 1.25)", "}", "raise lambda_b (smoothness), or the second weight: times 1.25", "train"),
    Key("n", "note", "n", "add a note to the run", "train", "note"),
    Key("X", "stop", "X", "stop the training after this step; it saves a checkpoint", "train"),
    Key("left", "replay('stride', -1)", "left", "go back by a hundredth of the log", "replay"),
    Key("right", "replay('stride', 1)", "right", "go forward by a hundredth of the log", "replay"),
    Key("shift+left", "replay('move', -1)", "shift+left", "go back by one event", "replay"),
    Key("shift+right", "replay('move', 1)", "shift+right", "go forward by one event", "replay"),
    Key("comma", "replay('jump', -1)", ",", "go to the previous mark or checkpoint", "replay"),
    Key("full_stop", "replay('jump', 1)", ".", "go to the next mark or checkpoint", "replay"),
    Key("home", "replay('start')", "home", "go to the first event", "replay"),
    Key("end", "replay('end')", "end", "go to the newest event and follow the run", "replay"),
    Key("r", "replay('play')", "r", "replay from here, or pause the replay", "replay", "replay"),
    Key("plus,equals_sign", "replay('speed', 1)", "+", "replay faster", "replay"),
    Key("minus", "replay('speed', -1)", "-", "replay slower", "replay"),
    Key("p", "screenshot_file", "p", "save this screen as an SVG file", "view", "screenshot"),
    Key("t", "theme", "t", "next theme: dark, light, the terminal's colours", "view"),
    Key("question_mark", "help", "?", "show this help", "view", "help"),
    Key("q,ctrl+q", "leave", "q", "leave; a training can continue or stop", "view", "leave"),
)

HELP = """
tab      next panel; up, down, page up, page down scroll it
ctrl+p   palette: all commands and themes by name

|cos|    mean over images of |cos| between two members'
         input gradients, of the log-odds; 0 is orthogonal.
         One number: the mean over pairs. "loss gradients":
         of the cross-entropy instead, which vanish where a
         member is certain
transfer the share of attacks on the row's member
         (surrogate) that fool the column's (target) too,
         counted over images that both classify correctly
         and on which the attack fools the surrogate. One
         number: summed over all pairs of different
         members. Diagonal: success on the member itself
letters  each loss curve carries the letter of its term;
         a capital letter is the other run's curve
V        the other run, the one of --against
dots     shipped runs on the same data: P standard,
         C cos-only, S smooth-only, D DVERGE, T TRS;
         and |cos| of the loss gradients, where it differs
marks    below the loss: checkpoints, changes, resumes (R)

Every change is recorded in the run's events."""


def help_text() -> str:
    """The help: keys, then terms."""
    return "\n".join(f"{key.label:<12}{key.text}" for key in KEYS) + "\n" + HELP


def key_line(fmt: Format, width: int, *, controls: bool, weights: Sequence[str]) -> str:
    """The key line: as many keys as fit, the most important ones first.

    controls: whether a trainer can receive requests.  weights: names of the loss weights.
    """
    scales = [f"{keys} {fmt.weight(name)}" for keys, name in zip(("[ ]", "{ }"), weights, strict=False)]
    train = [f"{key.label} {key.short}" for key in KEYS if key.group == "train" and key.short]
    train = [*train[:2], *scales, *train[2:]] if controls else []
    arrows = "<- -> earlier/later" if fmt.ascii else "←→ earlier/later"
    replay = [arrows, "r replay", ", . marks", "+ - speed"]
    always = ["q leave", "? help"]
    optional = [*train[:2], *replay[:2], *train[2:], *replay[2:], "p screenshot", "t theme", "^p palette"]
    order = [*train, *replay, "p screenshot", "t theme", "? help", "^p palette", "q leave"]
    chosen = always
    for key in optional:
        if len("  ".join([*chosen, key])) > width:
            break
        chosen = [*chosen, key]
    return "  ".join(sorted(chosen, key=order.index))
