"""The plan of a sweep: its trials from grid, list and seeds, their folders' names, and its folder's file. No torch."""

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from trs_explorer import lookup, plugins
from trs_explorer.config import DEFAULTS, resolve
from trs_explorer.files import Json, cannot_write, printable, read_json, write_atomically
from trs_explorer.options import UsageError
from trs_explorer.runs import START_PREFIX, SURROGATE_PREFIX, RunError

FORMAT = 1
FILE = "sweep.json"
MOST_TRIALS = 10_000
MOST_BYTES = 64 << 20  # of a sweep.json
LONGEST = 100  # characters of a folder's name: file systems take 255 bytes, and paths may be limited, too
MEASURES = ("table1", "evaluate", "transfer", "blackbox")
# No names of files on Windows, and what else is in a sweep's folder.
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?|logs|sweep\.(json|lock)", re.IGNORECASE)


@dataclass(frozen=True)
class Measure:
    """What is measured of a trained run: one of MEASURES, with the flags of that command by name."""

    what: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """One training of a sweep.

    - name: of its folder.
    - values: its settings and hyper-parameters, as `config.resolve` takes them.
    - varying: those of them that tell trials apart, without the seed: the grid's, and those of its table [[trial]], of which the
      method alone is enough where each has another one.
    """

    name: str
    values: Mapping[str, Any]
    varying: Mapping[str, Any]

    @property
    def seed(self) -> int:
        """The seed of the training."""
        return int(self.values.get("seed", DEFAULTS["seed"]))

    @property
    def code_of_others(self) -> list[tuple[str, str]]:
        """Kind and name of the code of others that the trial's settings name."""
        named = (("method", "method"), ("model", "model"), ("data", "data"), ("data", "data_dir"))
        texts = [(kind, str(self.values.get(key, ""))) for kind, key in named]
        return [(kind, name) for kind, name in texts if plugins.is_foreign(kind, name)]

    def allow_code(self) -> None:
        """Allow the code that the settings name: who started the sweep has named it in the description."""
        for kind, name in self.code_of_others:
            plugins.allow(kind, name)


@dataclass(frozen=True)
class Sweep:
    """All trials of a sweep, and what is measured of each."""

    trials: Sequence[Trial]
    measures: Sequence[Measure] = ()

    def trial(self, name: str) -> Trial:
        """The trial of that name. Raises UsageError if there is none."""
        for one in self.trials:
            if one.name == name:
                return one
        raise UsageError(f"the sweep has no trial {name!r}")

    def to_json(self) -> Json:
        """What sweep.json holds."""
        trials = [asdict(one) for one in self.trials]
        return {"format": FORMAT, "trials": trials, "measure": [asdict(one) for one in self.measures]}


def expand(
    fixed: Mapping[str, Any],
    grid: Mapping[str, Sequence[Any]],
    trials: Sequence[Mapping[str, Any]] = (),
    seeds: Sequence[int] = (),
) -> list[Trial]:
    """The trials of a description: each of `trials` with each combination of the grid's values and each seed.

    - fixed: settings of all trials.
    - grid: by setting, the values that it takes.
    - trials: settings of some trials; none: one trial for each combination of the grid.
    - seeds: the seeds of each; none: the seed of `fixed`, or the default.

    Every setting is checked by `config.resolve`; of trials on data of the user when they start, as its shape is not known before.
    Raises: UsageError for a setting that is given twice, a wrong value, two equal trials, or too many.
    """
    _check_given_once(fixed, grid, trials, seeds)
    count = max(1, len(trials)) * max(1, len(seeds))
    for listed in grid.values():
        count *= len(listed)
    if count > MOST_TRIALS:
        raise UsageError(f"{count:,} trials: a sweep has {MOST_TRIALS:,} at most")
    by_method = len({one.get("method") for one in trials} - {None}) == len(trials)
    made: dict[str, Trial] = {}  # by name, of which some file systems do not tell a from A
    equal: dict[str, str] = {}  # by all settings of the training
    for varying in _combinations(grid, trials):
        for seed in seeds or (None,):
            values = {**fixed, **varying} | ({} if seed is None else {"seed": seed})
            values |= {kind: plugins.absolute(values[kind]) for kind in ("method", "model") if kind in values}
            shown = {key: values[key] for key in varying if key in grid or key == "method" or not by_method}
            name = _name(values, shown, seed if len(seeds) > 1 else None)
            trial = Trial(name if name.casefold() not in made else _unique(name, values), values, shown)
            same = _checked(trial)
            if same in equal:
                raise UsageError(f"{equal[same]} and {trial.name} are the same training: drop one")
            equal[same] = trial.name
            made[trial.name.casefold()] = trial
    return list(made.values())


def _check_given_once(
    fixed: Mapping[str, Any],
    grid: Mapping[str, Sequence[Any]],
    trials: Sequence[Mapping[str, Any]],
    seeds: Sequence[int],
) -> None:
    listed = {key for one in trials for key in one}
    for key in (*fixed, *grid):
        places = [place for place, keys in (("[fixed]", fixed), ("[grid]", grid), ("[[trial]]", listed)) if key in keys]
        if len(places) > 1:
            raise UsageError(f"{key} is in {' and in '.join(places)}: drop one")
    if "seed" in grid or "seed" in listed:
        raise UsageError('seed: write seeds = "0-2" at the top, not in [grid] or [[trial]]')
    if "seed" in fixed and seeds:
        raise UsageError("there are seeds, and a seed in [fixed]: drop one")


def _combinations(grid: Mapping[str, Sequence[Any]], trials: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for one in trials or ({},):
        for values in itertools.product(*grid.values()):
            yield {**one, **dict(zip(grid, values, strict=True))}


def _checked(trial: Trial) -> str:
    """All settings of a training as a text, by which equal ones are found. Raises UsageError if it cannot have them."""
    trial.allow_code()
    if lookup.is_custom_data(str(trial.values.get("data", ""))):
        return json.dumps(dict(trial.values), sort_keys=True)
    try:
        return json.dumps(asdict(resolve(trial.values)), sort_keys=True)
    except UsageError as error:
        remedy = ": where methods differ in their options, write tables [[trial]]" * (" has no --" in str(error))
        raise UsageError(f"trial {trial.name}: {error}{remedy}") from error


def _name(values: Mapping[str, Any], varying: Mapping[str, Any], seed: int | None) -> str:
    """A folder's name that says what is special about a trial: trs-lambda_a=8-seed-1. Valid on every file system."""
    method = plugins.stem(str(values.get("method", DEFAULTS["method"])))
    parts = [method, *(f"{key}={value_text(value)}" for key, value in varying.items() if key != "method")]
    name = re.sub(r"[^A-Za-z0-9._=+-]", "_", "-".join(parts)).strip(".-")
    if not name or _RESERVED.fullmatch(name) or name.startswith((SURROGATE_PREFIX, START_PREFIX)):
        name = f"run-{name}"  # those prefixes are of trainings that a command makes for its own use
    end = "" if seed is None else f"-seed-{seed}"
    return name + end if len(name + end) <= LONGEST else _unique(name[: LONGEST - len(end) - 9], varying) + end


def _unique(name: str, values: Mapping[str, Any]) -> str:
    digest = sha256(json.dumps(dict(values), sort_keys=True).encode()).hexdigest()[:8]
    return f"{name}-{digest}"


def value_text(value: object) -> str:
    """A setting's value as names and tables show it: 8 for 8.0, and no folders of a file."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return plugins.stem(Path(value).name) if isinstance(value, str) else str(value)


# --- the file in a sweep's folder --------------------------------------------------------------------------------------


def check_folder(sweep: Sweep, folder: Path) -> None:
    """Raise RunError unless a sweep can be in a folder: it is there, or nothing is in its way.

    The message names what differs if another sweep is there.
    """
    if (folder / FILE).exists():
        if differing := difference(read(folder), sweep):
            raise RunError(f"{folder} is another sweep: {differing}. Choose another --out, or move it")
        return
    if (folder / "config.json").exists():
        raise RunError(f"{folder} is a run, not a sweep: choose another --out")
    in_the_way = [one.name for one in sweep.trials if (folder / one.name).exists()]
    if in_the_way:
        raise RunError(f"{folder / in_the_way[0]} is there, and {folder} is no sweep: choose another --out")


def store(sweep: Sweep, folder: Path) -> None:
    """Write sweep.json into a sweep's folder, if it is not there. Raises: RunError as `check_folder`, or if it cannot."""
    check_folder(sweep, folder)
    if not (folder / FILE).exists():
        text = json.dumps(sweep.to_json(), indent=1) + "\n"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / FILE, lambda temporary: temporary.write_text(text))
        except OSError as error:
            raise RunError(cannot_write(folder, error)) from error


def read(folder: Path) -> Sweep:
    """The sweep of a folder. Raises RunError if its file is missing, damaged, or of a newer version."""
    stored = read_json(folder / FILE, MOST_BYTES)
    if stored is None:
        raise RunError(f"{folder / FILE} is missing or damaged: choose another --out")
    if not isinstance(stored.get("format"), int) or stored["format"] > FORMAT:
        raise RunError(
            f"{folder / FILE} has format {printable(stored.get('format'))}, this trs reads {FORMAT}: update trs-explorer"
        )
    try:
        trials = [Trial(str(one["name"]), dict(one["values"]), dict(one["varying"])) for one in stored["trials"]]
        measures = [Measure(str(one["what"]), dict(one["options"])) for one in stored["measure"]]
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{folder / FILE} is damaged") from error
    for one in trials:
        if not re.fullmatch(r"[A-Za-z0-9_=+-][A-Za-z0-9._=+-]*", one.name):
            raise RunError(f"{folder / FILE} is damaged: {one.name!r} is no name of a trial")
    return Sweep(trials, measures)


def difference(stored: Sweep, other: Sweep) -> str:
    """How a stored sweep and another differ, in words; empty if they do not."""
    theirs, ours = ({one.name: one.values for one in sweep.trials} for sweep in (stored, other))
    parts = []
    for name in theirs.keys() & ours.keys():
        keys = [key for key in {**theirs[name], **ours[name]} if theirs[name].get(key) != ours[name].get(key)]
        if keys:
            each = (f"{key} {_or_default(theirs[name], key)} there, {_or_default(ours[name], key)} here" for key in keys)
            parts.append(f"{name} has {', '.join(each)}")
    parts = sorted(parts)[:1]
    parts += [
        f"only there: {', '.join(names[:3])}{' ...' * (len(names) > 3)}" for names in [[*(theirs.keys() - ours.keys())]] if names
    ]
    parts += [
        f"only here: {', '.join(names[:3])}{' ...' * (len(names) > 3)}" for names in [[*(ours.keys() - theirs.keys())]] if names
    ]
    if list(map(asdict, stored.measures)) != list(map(asdict, other.measures)):
        parts.append(f"measured there: {_measures_text(stored.measures)}; here: {_measures_text(other.measures)}")
    return "; ".join(parts)


def _or_default(values: Mapping[str, Any], key: str) -> str:
    return value_text(values[key]) if key in values else "its default"


def _measures_text(measures: Sequence[Measure]) -> str:
    each = (f"{one.what}{''.join(f' {key}={value_text(value)}' for key, value in one.options.items())}" for one in measures)
    return ", ".join(each) or "nothing"
