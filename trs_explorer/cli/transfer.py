"""`trs transfer`."""

import json
from typing import Annotated

import typer

from trs_explorer import runs
from trs_explorer.catalogue import ATTACKS, BALL_ATTACKS, DATA
from trs_explorer.cli.flags import (
    DeviceOption,
    JsonFileOption,
    LimitOption,
    RunArgument,
    SeedOption,
    check_parent,
    parse_radii,
    run_at,
)
from trs_explorer.options import UsageError, unknown

WIDE = 5  # with more members than this, cells hold the rate alone


def transfer(
    run: RunArgument,
    attack: Annotated[str, typer.Option("--attack", help=f"One of {', '.join(BALL_ATTACKS)}.")] = "pgd",
    eps: Annotated[str | None, typer.Option("--eps", help="Radius in [0, 1] pixels. Default: 0.3 on MNIST.")] = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Steps of the iterated attacks.")] = 50,
    limit: LimitOption = 1000,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    json_file: JsonFileOption = None,
) -> None:
    """The transfer matrix: who else falls to the examples made on one member. Rows = surrogate, columns = target.

    Off the diagonal: of the images that both members have right and on which the surrogate was fooled, how many fool the
    target too (the paper's Definition 6). On the diagonal: of the images that the member has right, how many it is fooled on.
    """
    if attack not in BALL_ATTACKS:
        raise UsageError(unknown("--attack", attack, BALL_ATTACKS))
    chosen = run_at(run)
    check_parent(json_file)
    radii = parse_radii(eps) if eps is not None else [DATA[chosen.config.data].probe_eps]
    if len(radii) != 1:
        raise UsageError(f"--eps: a matrix has one radius, got {eps}")
    result = _measure(chosen, attack, radii[0], steps, limit, seed, device)
    try:
        runs.write_result(chosen, "transfer", result)
    except runs.RunError as error:
        typer.echo(f"not stored with the run: {error}", err=True)
    _show(result)
    if json_file:
        json_file.write_text(json.dumps(result, indent=1) + "\n")


def _measure(run: runs.Run, attack: str, eps: float, steps: int, limit: int, seed: int, device: str) -> dict:
    from functools import partial

    from trs_explorer import data
    from trs_explorer.catalogue import load
    from trs_explorer.cli.progress import progress
    from trs_explorer.cli.results import about
    from trs_explorer.evaluation.intervals import wilson
    from trs_explorer.evaluation.transfer import transfer_matrix
    from trs_explorer.models.stored import load_ensemble
    from trs_explorer.training.device import resolve_device

    where = resolve_device(device)
    ensemble, weights = load_ensemble(run, device=where)
    test = data.load(run.config.data, train=False, data_dir=run.config.data_dir)
    chosen = slice(0, min(limit, len(test)))
    x, y = test.images(chosen).to(where), test.y[chosen].to(where)
    function = partial(load(ATTACKS[attack].function), eps=eps, **({"steps": steps} if attack != "fgsm" else {}))
    with progress(f"{run.name}: transfer"):
        matrix = transfer_matrix(ensemble, x, y, attack=function, ensemble_column=True, seed=seed)
    return {
        **about(run, weights, len(x), where, seed),
        "kind": "transfer",
        "attack": f"{attack}-{steps}" if attack != "fgsm" else attack,
        "eps": eps,
        "options": {"steps": steps} if attack != "fgsm" else {},
        "pooled_interval": list(wilson(*matrix.pooled())),
        **matrix.to_json(),
    }


def _show(result: dict) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    what = f"{escape(result['run'])}: transfer of {result['attack']}, eps {result['eps']:g}"
    title = f"{what}, in % (fooled / eligible; 95 % interval)"
    table = Table(title=title, title_justify="left", caption="rows: surrogate, columns: target", caption_justify="left")
    table.add_column("")
    members = len(result["fooled"])
    for name in [*(f"F{j + 1}" for j in range(members)), "ensemble"]:
        table.add_column(name, justify="right")
    for i in range(members):
        cells = []
        for j, rate in enumerate(result["rates"][i]):
            low, high = result["intervals"][i][j]
            share = "none eligible" if rate is None else f"{100 * rate:.0f} ({100 * low:.0f} - {100 * high:.0f})"
            if members > WIDE:
                share = "-" if rate is None else f"{100 * rate:.0f}"
            cells.append(share if members > WIDE else f"{share}\n{result['fooled'][i][j]} / {result['eligible'][i][j]}")
        table.add_row(f"F{i + 1}", *cells)
    console = Console()
    console.print(table)
    fooled, eligible = result["pooled"]
    low, high = result["pooled_interval"]
    words = f"{fooled} / {eligible} = {100 * fooled / eligible:.1f} % ({100 * low:.1f} - {100 * high:.1f})" if eligible else "-"
    console.print(f"all pairs of different members together: {words}", highlight=False)
