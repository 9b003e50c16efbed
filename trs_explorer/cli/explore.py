"""`trs explore`: serve the web explorer."""

import os
import secrets
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from trs_explorer.cli.flags import AllowCodeOption, DataDirOption, on_terminal, parse_list, run_at, say
from trs_explorer.files import is_regular, printable
from trs_explorer.runs import RunError, find_runs, open_run

Host = Annotated[
    str,
    typer.Option(
        "--host", help="Address to listen on. If other machines can reach it, the explorer is read-only and needs a token."
    ),
]
Port = Annotated[int, typer.Option("--port", help="Port to listen on; the next free one if it is in use, any if 0.")]
UrlPrefix = Annotated[
    str,
    typer.Option(
        "--url-prefix",
        help="Path below which a proxy serves the explorer, such as /trs or /user/ada/proxy/8050. It may remove the path or not.",
        show_default=False,
    ),
]
TrustedHost = Annotated[
    list[str] | None,
    typer.Option(
        "--trusted-host",
        help="Name of a proxy or notebook server that may pass requests on, and whose pages may show the explorer in a frame: a "
        "host, without port. Who reaches that server can do what you can. Repeatable.",
        show_default=False,
    ),
]
NoBrowser = Annotated[bool, typer.Option("--no-browser", help="Print the address, but open no browser.")]


def explore(
    path: Annotated[
        Path | None,
        typer.Argument(
            help="A run, or a folder of runs. Without it: the shipped runs and those in ./checkpoints.", show_default=False
        ),
    ] = None,
    host: Host = "127.0.0.1",
    port: Port = 8050,
    no_browser: NoBrowser = False,
    url_prefix: UrlPrefix = "",
    trusted_host: TrustedHost = None,
    data_dir: DataDirOption = None,
    allow_code: AllowCodeOption = False,
    attacks: Annotated[
        str,
        typer.Option(
            "--attacks", help="Attacks of your own for the pages' lists: mine.py:square. Comma-separated.", show_default=False
        ),
    ] = "",
) -> None:
    """Explore runs in the browser: decision boundaries, the paths of attacks, and what transfers between the members.

    It works on a running training, too; /compare shows two runs side by side. Nothing leaves this machine; no network is needed.

    Ctrl-C ends it.

    In a notebook: trs explore --trusted-host localhost --no-browser, then IFrame("http://localhost:8050", "100%", 800).

    Examples: trs explore, trs explore mnist-trs, trs explore --attacks mine.py:square, trs explore --host 0.0.0.0 --no-browser
    """
    del allow_code
    folder = str(data_dir or "")
    named = parse_list(attacks, "--attacks") if attacks else []
    serve(
        path, host, port, no_browser=no_browser, data_dir=folder, url_prefix=url_prefix, trusted_hosts=trusted_host, attacks=named
    )


def serve(
    path: Path | None,
    host: str,
    port: int,
    *,
    no_browser: bool,
    page: str = "",
    data_dir: str = "",
    url_prefix: str = "",
    trusted_hosts: Sequence[str] | None = None,
    attacks: Sequence[str] = (),
) -> None:
    """Serve the explorer until Ctrl-C.

    page: the first page in the browser.
    data_dir: as for `Library`.
    url_prefix, trusted_hosts: as the user gave them, see `access.protect`.
    attacks: attacks of others that the pages offer, see `custom_attacks.offer`.
    """
    threads = set(threading.enumerate())
    places = _places(path)

    from trs_explorer.cli.progress import progress
    from trs_explorer.web import access, server

    prefix, trusted = access.parse_prefix(url_prefix), [access.parse_trusted(name) for name in trusted_hosts or ()]
    sock = server.bind(host, port)
    token = None if server.is_loopback(sock) else secrets.token_urlsafe(32)
    with progress("loading the explorer"):
        from trs_explorer.explore.library import Library
        from trs_explorer.web import custom_attacks
        from trs_explorer.web.app import create_app

        custom_attacks.offer(attacks)
        library = Library(places, device="cpu", data_dir=data_dir)  # slices are small; pictures and attacks start on the CPU
        app = create_app(library, readonly=token is not None, url_prefix=prefix, command=f"trs {page or 'explore'}")
        hosts = (host, sock.getsockname()[0])
        access.protect(app.server, hosts=hosts, token=token, trusted=trusted, prefix=prefix)
    url = server.address(host, sock).rstrip("/") + f"{prefix}/" + page + (f"?token={token}" if token else "")
    for line in () if path is None else _passed_over(path):
        say(line)
    _announce(url, len(library.names), (port, sock.getsockname()[1]), token)
    if not no_browser:
        server.open_browser(url)
    server.serve(app.server, sock)
    print("\nstopped" if on_terminal() else "stopped", flush=True)
    if set(threading.enumerate()) - threads:  # a computation is still running: nothing is lost with it, so do not wait
        sys.stderr.flush()
        os._exit(0)


def _places(path: Path | None) -> list[Path]:
    """The runs and folders of runs to show. Raises RunError if path is neither, nor the name of a shipped run."""
    if path is None:
        from trs_explorer.shipped import shipped_runs

        return [*(run.path for run in shipped_runs()), Path("checkpoints")]  # as a folder: new runs appear by themselves
    if path.is_dir() and find_runs(path):
        return [path]
    if path.is_dir() and any(path.iterdir()):
        raise RunError(f"{path}: there is no run in this folder, and it is none itself")
    return [run_at(path).path]


def _passed_over(folder: Path) -> list[str]:
    """Say which subfolders of a folder of runs are not shown: those without a config.json, and those whose config is refused."""
    if is_regular(folder / "config.json") or not folder.is_dir():
        return []
    plain, refused = [], []
    for inside in sorted(folder.iterdir()):
        if inside.is_dir() and not inside.name.startswith("."):
            if not is_regular(inside / "config.json"):
                plain.append(printable(inside.name))
                continue
            try:
                open_run(inside)
            except RunError as error:
                refused.append(str(error))
    names = ", ".join(plain[:3]) + ", ..." * (len(plain) > 3)
    lines = [f"{len(plain)} folder{'s' * (len(plain) > 1)} passed over: no config.json ({names})"] if plain else []
    return lines + [f"passed over: {error}" for error in refused]


def _announce(url: str, runs: int, ports: tuple[int, int], token: str | None) -> None:
    """Print the explorer's address. Rich omits colours if stdout is not a terminal."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False, soft_wrap=True)
    requested, actual = ports
    if requested and requested != actual:
        console.print(f"port {requested} is in use: using {actual}")
    if token:
        console.print(
            "Other machines can reach it, unencrypted. With the full address one can view everything and change nothing."
        )
    console.print(f"{runs} run{'' if runs == 1 else 's'} at [bold]{escape(url)}[/bold]  (Ctrl-C ends it)")
