"""`trs transfer`."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from trs_explorer.catalogue import ATTACKS, DATA, entry, load
from trs_explorer.cli import leaving_at_once
from trs_explorer.cli.blocks import Column, print_table
from trs_explorer.cli.evaluations import (
    GOES_ON,
    STOPPED,
    about,
    accepted,
    attack_options,
    check_classes,
    check_saved,
    loaded,
    store,
)
from trs_explorer.cli.exports import as_csv, as_json, check_parent, exported
from trs_explorer.cli.flags import (
    ConfidenceOption,
    CsvFileOption,
    DataDirOption,
    DeviceOption,
    JsonFileOption,
    LimitOption,
    NormOption,
    RunArgument,
    SeedOption,
    StepsOption,
    check_reach,
    parse_confidence,
    parse_constants,
    parse_radii,
    run_at,
    say,
)
from trs_explorer.cli.rates import IN_WORDS, value_of
from trs_explorer.files import printable
from trs_explorer.options import UsageError, unknown
from trs_explorer.results import Unfinished
from trs_explorer.runs import Run

if TYPE_CHECKING:
    import torch

    from trs_explorer.evaluation.shares import Processes

SAID, LATER = ("attack", "eps", "c", "protocol", "targeted"), ("norm", "confidence")  # columns before and after the counts
WIDE = 5  # with more members than this, cells hold the rate alone


def transfer(
    run: RunArgument,
    attack: Annotated[str, typer.Option("--attack", help=f"One of {', '.join(ATTACKS)}.")] = "pgd",
    eps: Annotated[str | None, typer.Option("--eps", help="Radius such as 0.1 or 8/255. Default: 0.3 on MNIST.")] = None,
    norm: NormOption = "linf",
    c: Annotated[str | None, typer.Option("--c", help="Constant of cw and ead, which have no radius. Default: 1.")] = None,
    confidence: ConfidenceOption = None,
    targeted: Annotated[bool, typer.Option("--targeted", help="Each image is to be taken for a random other class.")] = False,
    protocol: Annotated[str, typer.Option("--protocol", help="def6, or all-right: images that all members have right.")] = "def6",
    steps: StepsOption = 50,
    limit: LimitOption = 1000,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    data_dir: DataDirOption = None,
    json_file: JsonFileOption = None,
    csv_file: CsvFileOption = None,
) -> None:
    """The transfer matrix: who else falls to the examples made on one member. Rows = surrogate, columns = target.

    def6, off the diagonal: of images that both have right and that fool the surrogate, how many fool the target (Definition 6).

    On the diagonal: of the images that the member has right, how many it is fooled on.

    all-right: of the first images that all members have right, how many fool the target with any of five starts (DVERGE's way).

    --targeted: to be fooled is to answer the wanted class.
    """
    known = entry(ATTACKS, "--attack", attack)
    if protocol not in ("def6", "all-right"):
        raise UsageError(unknown("--protocol", protocol, ("def6", "all-right")))
    chosen = run_at(run)
    for file in (json_file, csv_file):
        check_parent(file)
    about_data = DATA[chosen.config.data]
    check_classes(attack, chosen.config.data, "--attack")
    if known.ball and c is not None:
        raise UsageError(f"--c: {attack} has a radius, --eps")
    if not known.ball and eps is not None:
        raise UsageError(f"--eps: {attack} has no radius, but a constant, --c")
    options = attack_options([attack], norm, parse_confidence(confidence))
    values = parse_radii(eps, norm) if known.ball else parse_constants(c) if c is not None else None
    check_reach(values if known.ball else None, norm, chosen.config.data)
    if values is not None and len(values) != 1:
        raise UsageError(f"{'--eps' if known.ball else '--c'}: a matrix has one value, got {eps or c}")
    value = values[0] if values else about_data.probe_eps if known.ball else 1.0
    check_saved(chosen)
    asked = Asked(attack, value, steps, limit, seed, targeted, protocol, options, str(data_dir or ""))

    with leaving_at_once():
        from trs_explorer.evaluation.shares import processes
        from trs_explorer.training.device import resolve_device

    with processes() as team:
        result, kept = _measured(chosen, asked, team.device(resolve_device(device)), team)
        if team.agree(result is not None and store(chosen, "transfer", result)):
            kept.forget()
    if result is None:
        return
    with exported((json_file, lambda: as_json(result)), (csv_file, lambda: _csv(result))):
        _show(result)


@dataclass(frozen=True)
class Asked:
    """What matrix is asked for; value is the attack's eps or c, options its norm or confidence if those are not the usual.

    data_dir: folder with the data, if it is not where the run's config says.
    """

    attack: str
    value: float
    steps: int
    limit: int
    seed: int
    targeted: bool
    protocol: str
    options: dict
    data_dir: str


def _measured(run: Run, asked: Asked, device: "torch.device", team: "Processes") -> tuple[dict | None, Unfinished]:
    """The result, None in every process but the first; and what to forget once it is stored."""
    import torch

    from trs_explorer import data
    from trs_explorer.cli.progress import progress
    from trs_explorer.evaluation.checks import CHECKS
    from trs_explorer.evaluation.transfer import STARTS_OF, all_right, assembled, measure_transfer, other_classes
    from trs_explorer.evaluation.trust import check_model, warnings_of

    ensemble, named = loaded(run, device)
    test = data.load_for(run, train=False, data_dir=asked.data_dir)
    places, which = torch.arange(min(asked.limit, len(test))), ""
    if asked.protocol == "all-right":
        places, which = all_right(ensemble, test.images(slice(None)), test.y, limit=asked.limit), " that all members have right"
    x, y = test.images(places).to(device), test.y[places].to(device)
    about_attack = ATTACKS[asked.attack]
    function = load(about_attack.function)
    options = (accepted(function, steps=asked.steps) if about_attack.ball else {}) | asked.options
    said = {
        **about(named, test, f"first {len(x)} test images{which}", device, asked.seed),
        "kind": "transfer",
        "attack": f"{asked.attack}-{asked.steps}" if "steps" in options else asked.attack,
        "eps": asked.value if about_attack.ball else None,
        "c": None if about_attack.ball else asked.value,
        "norm": options.get("norm", "linf") if about_attack.ball else None,
        "confidence": options.get("confidence"),
        "options": options,
        "protocol": asked.protocol,
        "targeted": asked.targeted,
        "starts": STARTS_OF[asked.protocol],
    }
    wanted = other_classes(y, DATA[run.config.data].classes, seed=asked.seed) if asked.targeted else None
    share = team.share(len(x))
    kept = Unfinished(run, "transfer", {**said, "share": [share.start, share.stop]})
    done = _outcomes(kept.found(), len(ensemble), share.stop - share.start)
    if done and team.rank == 0:
        say(GOES_ON)
    snapshots = measure_transfer(
        ensemble,
        x[share],
        y[share],
        attack=partial(function, **{"eps" if about_attack.ball else "c": asked.value}, **options),
        wanted=None if wanted is None else wanted[share],
        protocol=asked.protocol,
        ensemble_column=True,
        seed=asked.seed,
        done=done,
        first=share.start,
    )
    matrix = None
    try:
        with progress(f"{run.name}: transfer", quiet=team.rank > 0) as advance:
            for matrix in snapshots:
                tried = sum(len(row[0]) for row in matrix.outcomes)
                advance(tried, len(ensemble) * (share.stop - share.start))
                kept.keep({"outcomes": matrix.outcomes} if tried else {})
    except KeyboardInterrupt:
        kept.keep({"outcomes": matrix.outcomes} if matrix else {}, now=True)
        if kept.kept and team.rank == 0:
            say(STOPPED)
        raise
    parts = team.gather(said, matrix)
    if not parts:
        return None, kept
    findings = check_model(ensemble, x[:100], y[:100])
    trust = [{"check": number, "name": CHECKS[number], "warnings": texts} for number, texts in findings.items()]
    return {**said, **assembled(parts).to_json(), "trust": trust, "warnings": warnings_of(findings)}, kept


def _outcomes(found: dict, members: int, most: int) -> list[list[str]]:
    """The letters that an interrupted measurement had kept, a cell each; none if they are damaged."""
    rows = found.get("outcomes")
    if not isinstance(rows, list) or [len(row) if isinstance(row, list) else 0 for row in rows] != [members + 1] * members:
        return []
    for row in rows:
        lengths = {len(cell) if isinstance(cell, str) and set(cell) <= set("-01") else most + 1 for cell in row}
        if len(lengths) > 1 or max(lengths) > most:
            return []
    return rows


def _show(result: dict) -> None:
    from rich.console import Console
    from rich.markup import escape

    console, run = Console(), escape(printable(result["run"]))
    value = value_of(result) if result["eps"] is None else f"eps {value_of(result)}{IN_WORDS[result['norm']]}"
    value += "" if result["confidence"] is None else f", confidence {result['confidence']:g}"
    aim = "targeted, " if result["targeted"] else ""
    what = f"{run}: transfer of {result['attack']}, {aim}{value}"
    console.print(f"[italic]{what}, in % (fooled / eligible; 95 % interval)[/]", highlight=False)
    members = range(len(result["fooled"]))
    names = _names(result)
    columns = [Column(names[j], [_cell(result, i, j) for i in members]) for j in range(len(names))]
    print_table(console, [Column("", [names[i] for i in members], "left")], columns)
    words = "rows: surrogate, columns: target"
    if result["protocol"] == "all-right":
        words += f"; images that all members have right, any of {result['starts']} starts"
    console.print(words, highlight=False)
    fooled, eligible = result["pooled"]
    low, high = result["pooled_interval"]
    words = f"{fooled} / {eligible} = {100 * fooled / eligible:.1f} % ({100 * low:.1f} - {100 * high:.1f})" if eligible else "-"
    console.print(f"all pairs of different members together: {words}", highlight=False)
    for warning in result["warnings"]:
        console.print(f"[bold]warning[/] {run}: {escape(warning)}", highlight=False)


def _cell(result: dict, i: int, j: int) -> str:
    """The share of one cell in per cent; with few members its interval and counts too."""
    rate, (low, high), alone = result["rates"][i][j], result["intervals"][i][j], len(result["fooled"]) > WIDE
    if rate is None:
        share = "-" if alone else "none eligible"
    else:
        share = f"{100 * rate:.0f}" if alone else f"{100 * rate:.0f} ({100 * low:.0f} - {100 * high:.0f})"
    return share if alone else f"{share}\n{result['fooled'][i][j]} / {result['eligible'][i][j]}"


def _names(result: dict) -> list[str]:
    return [*(f"F{j + 1}" for j in range(len(result["fooled"]))), "ensemble"]


def _csv(result: dict) -> str:
    names, fixed = _names(result), [result[key] for key in ("run", "weights", "seed", *SAID)]
    later = [result[key] for key in LATER]
    header = ["run", "weights_sha256", "seed", *SAID, "surrogate", "target", "fooled", "eligible", "low", "high", *LATER]
    rows = [
        [*fixed, names[i], names[j], fooled, result["eligible"][i][j], *result["intervals"][i][j], *later]
        for i, row in enumerate(result["fooled"])
        for j, fooled in enumerate(row)
    ]
    return as_csv(header, rows)
