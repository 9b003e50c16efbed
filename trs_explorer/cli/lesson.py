"""`trs lesson`: serve the lesson."""

from trs_explorer.cli.explore import Host, NoBrowser, Port, TrustedHost, UrlPrefix, serve


def lesson(
    host: Host = "127.0.0.1",
    port: Port = 8050,
    no_browser: NoBrowser = False,
    url_prefix: UrlPrefix = "",
    trusted_host: TrustedHost = None,
) -> None:
    """Open the lesson "Orthogonal is not enough" in the browser: seven cards; guess first, then see what happens.

    Arrow keys change the card, Enter reveals, f is full screen, ? lists the keys; /lesson/teacher has notes for the teacher.

    It takes five minutes, or an hour, and needs no network. Ctrl-C ends it.

    Examples: trs lesson, trs lesson --host 0.0.0.0 --no-browser
    """
    serve(None, host, port, no_browser=no_browser, page="lesson", url_prefix=url_prefix, trusted_hosts=trusted_host)
