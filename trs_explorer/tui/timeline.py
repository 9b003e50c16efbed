"""The line that shows where a replay stands: bar, marks, step and speed."""

from rich.text import Text

from trs_explorer.tui.look import Look
from trs_explorer.tui.player import Player
from trs_explorer.tui.tape import Tape


def timeline(tape: Tape, player: Player, look: Look, width: int) -> Text:
    """One line: what plays, a bar with marks and checkpoints, and how far it is."""
    total = len(tape)
    at = total if player.position is None else min(player.position, total)
    sign = look.glyph("play" if player.playing else "still")
    speed = f"{look.glyph('times')}{player.speed} " if player.speed else ""
    before, after = f"{sign} {speed}", f" {100 * at // max(1, total):3d} %"
    room = width - len(before) - len(after)
    if room < 8:
        return Text(f"{before.strip()}{after}", look.colour("mark"))
    line, knob = look.glyph("line"), look.glyph("knob")
    cells, styles = [line] * room, [look.colour("muted")] * room
    done = min(room - 1, at * room // max(1, total))
    for stop in tape.stops:
        cell = min(room - 1, stop.events * room // max(1, total))
        if stop.kind == "save" and cells[cell] != line:
            continue  # of two in one cell the mark is the rarer
        cells[cell], styles[cell] = look.glyph("save" if stop.kind == "save" else "change"), look.colour("mark")
    styles[:done] = [f"bold {style}".replace("bold dim", "") for style in styles[:done]]
    cells[done], styles[done] = knob, f"bold {look.colour('good')}"
    text = Text(before, "bold")
    for cell, style in zip(cells, styles, strict=True):
        text.append(cell, style.strip())
    return text.append(after, "bold")
