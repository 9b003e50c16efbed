"""The timeline of a replay: a bar with marks, position and speed."""

from rich.text import Text

from trs_explorer.tui.event_log import EventLog
from trs_explorer.tui.formatting import Format
from trs_explorer.tui.player import Player


def timeline(event_log: EventLog, player: Player, fmt: Format, width: int) -> Text:
    """One line: play or pause and speed, a bar with marks and checkpoints, and the position in per cent."""
    total = len(event_log)
    position = total if player.position is None else min(player.position, total)
    sign = fmt.glyph("play" if player.playing else "still")
    speed = f"{fmt.glyph('times')}{player.speed} " if player.speed else ""
    before, after = f"{sign} {speed}", f" {100 * position // max(1, total):3d} %"
    room = width - len(before) - len(after)
    if room < 8:
        return Text(f"{before.strip()}{after}", fmt.colour("mark"))
    line, knob = fmt.glyph("line"), fmt.glyph("knob")
    cells, styles = [line] * room, [fmt.colour("muted")] * room
    done = min(room - 1, position * room // max(1, total))
    for stop in event_log.stops:
        cell = min(room - 1, stop.events * room // max(1, total))
        if stop.kind == "save" and cells[cell] != line:
            continue  # in one cell a mark is drawn rather than a checkpoint, because it is rarer
        cells[cell], styles[cell] = fmt.glyph("save" if stop.kind == "save" else "change"), fmt.colour("mark")
    styles[:done] = [f"bold {style}".replace("bold dim", "") for style in styles[:done]]
    cells[done], styles[done] = knob, f"bold {fmt.colour('good')}"
    text = Text(before, "bold")
    for cell, style in zip(cells, styles, strict=True):
        text.append(cell, style.strip())
    return text.append(after, "bold")
