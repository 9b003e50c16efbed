"""`trs lesson`."""

from trs_explorer.cli.explore import Host, NoBrowser, Port, serve


def lesson(host: Host = "127.0.0.1", port: Port = 8050, no_browser: NoBrowser = False) -> None:
    """Open the lesson "Orthogonal is not enough" in the browser: seven cards, each a guess, then what really happens.

    Arrow keys go from card to card, Enter reveals, f fills the screen, ? lists the keys; /lesson/teacher has what to say and ask.
    Five minutes, or an hour. It needs no network. Ctrl-C ends it.

    Examples: trs lesson, trs lesson --host 0.0.0.0 --no-browser
    """
    serve(None, host, port, no_browser=no_browser, page="lesson")
