"""The settings of a training: declared once, resolved once, written to the run's config.json."""

import dataclasses
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, get_type_hints

from trs_explorer import __version__, lookup, plugins
from trs_explorer.catalogue import DATA, METHODS, MODELS, entry
from trs_explorer.catalogue_entries import Method
from trs_explorer.options import HYPER_PARAMETERS, Option, UsageError, setting, unknown

FORMAT = 1
REQUIRED = ("method", "data", "model", "members", "epochs", "batch_size", "seed")  # a config.json without these is refused
NO_SETTINGS = ("options", "data_fingerprint", "custom_data")  # fields that are not settings of the user
SPLITS = ("train", "test")
IMPORTED = "imported"  # in the place of the method, for an ensemble that was trained elsewhere
NOT_TRAINED_HERE = Method("", "trained elsewhere")


def _names(kind: str, built_in: Mapping[str, object]) -> str:
    """The names of a kind, also those that installed packages add, for help."""
    return ", ".join((*built_in, *plugins.installed(kind)))


@dataclass(frozen=True)
class TrainConfig:
    """Every resolved setting of a training.

    - options: the method's own hyper-parameters.
    - data_fingerprint: by split, the SHA-256 of its images and labels (`data.dataset.fingerprint`). Empty for computed data,
      before the first training has read the files, and in older runs on a user's files.
    - custom_data: of data of the user the "shape" of an image and the "class_names"; its files are at data_dir. Else empty.
    """

    method: str = setting("trs", f"how to train: {_names('method', METHODS)}, or your own: mine.py:loss, package.module:loss")
    data: str = setting(
        "mnist",
        f"data set: {_names('data', DATA)}, or your own: images.npz (.pt, .safetensors, .parquet), a folder with a subfolder for "
        "each class, mine.py:data",
    )
    model: str = setting("patch", f"architecture of every member: {_names('model', MODELS)}, or your own: mine.py:net")
    members: int = setting(3, "how many members", low=2, high=64)
    epochs: int = setting(36, "passes over the training images", low=1)
    batch_size: int = setting(128, "images per step", low=1)
    optimizer: str = setting("adam", "adam, or sgd with momentum .9", choices=("adam", "sgd"))
    lr: float = setting(3e-3, "highest learning rate (it falls to 0 along a cosine)", low=0, above_low=True)
    warmup: float = setting(0.03, "share of the training in which the learning rate rises from 0", low=0, high=1)
    weight_decay: float = setting(0.0, "weight decay", low=0)
    clip: float = setting(10.0, "largest norm of the weights' gradient; larger are scaled down", low=0, above_low=True)
    seed: int = setting(0, "the seed of all random numbers", low=0, high=2**31 - 1)
    augment: bool = setting(False, "shift training images by up to 4 pixels and mirror them, at random (on for CIFAR)")
    device: str = setting("auto", "auto, cpu or cuda; auto takes a GPU where there is one")
    precision: str = setting("auto", "members in bfloat16 where the hardware has it", choices=("auto", "float32", "bfloat16"))
    compile: bool = setting(
        False, "TRS's search as one graph of torch.compile: seconds to compile, for a GPU; no faster on a CPU"
    )
    adversarial: bool = setting(False, "adversarial training: cross-entropy on PGD examples of the ensemble (Madry et al. 2018)")
    adv_eps: float = setting(0.2, "radius of --adversarial, in [0, 1] pixels", low=0, high=1)
    adv_steps: int = setting(7, "PGD steps of --adversarial, each of size 2.5 * adv-eps / adv-steps", low=1, high=100)
    start_from: str = setting("", "a trained run of the same members, whose weights the training starts from", spelling="--from")
    limit: int = setting(0, "train on the first N images; 0: all", low=0)
    log_every: int = setting(10, "steps between two events in the log", low=1)
    save_every: int = setting(1, "epochs between two checkpoints (the last epoch is always saved)", low=1)
    probe_every: int = setting(1, "epochs between two probes of held-out images (so is the last epoch)", low=1)
    data_dir: str = setting("", "folder with the data set's files; empty: those embedded, installed or downloaded")
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    data_fingerprint: dict[str, str] = dataclasses.field(default_factory=dict)
    custom_data: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def about_method(self) -> Method:
        """The method's entry; for an imported ensemble one without options."""
        return NOT_TRAINED_HERE if self.imported else lookup.method(self.method)

    @property
    def imported(self) -> bool:
        """Whether the ensemble was trained elsewhere. Then "model" names what builds the whole ensemble."""
        return self.method == IMPORTED

    @property
    def method_name(self) -> str:
        """The method's name for readers: without the folders of a file."""
        return plugins.short(self.method)

    @property
    def model_name(self) -> str:
        """The model's name for readers: without the folders of a file."""
        return plugins.short(self.model)

    def code_of_others(self) -> list[tuple[str, str]]:
        """Kind and name of all code that is not part of trs and that this run names, for `plugins.allow`."""
        named = [("method", self.method), ("model", self.model), ("data", self.data_dir)]
        return [(kind, name) for kind, name in named if name != IMPORTED and plugins.is_foreign(kind, name)]

    def to_json(self) -> dict[str, Any]:
        """The content of config.json: the settings, and the versions that make the run."""
        return {
            "format": FORMAT,
            "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "versions": {
                "trs_explorer": __version__,
                "torch": _version("torch"),
                "python": platform.python_version(),
            },
            **dataclasses.asdict(self),
        }


def _settings() -> dict[str, Option]:
    types = get_type_hints(TrainConfig)
    fields = (f for f in dataclasses.fields(TrainConfig) if f.name not in NO_SETTINGS)
    return {f.name: Option(f.name, types[f.name], **f.metadata) for f in fields}


SETTINGS = _settings()
DEFAULTS = {f.name: f.default for f in dataclasses.fields(TrainConfig) if f.name not in NO_SETTINGS}


def resolve(values: Mapping[str, object]) -> TrainConfig:
    """The complete config: the given values, else the method's and the data set's recipes, else the defaults.

    values: settings and hyper-parameters side by side, as from flags or a TOML file. A relative data_dir is made absolute.
    Raises: UsageError for an unknown name, a value out of range, or an option that the method does not have.
    """
    method_name = plugins.absolute(str(SETTINGS["method"].check(values.get("method", DEFAULTS["method"]))))
    method = lookup.method(method_name)
    taken = next((name for name in method.options if name in SETTINGS), None)
    if taken:
        raise UsageError(f"{plugins.short(method_name)}: its parameter {taken} has the name of a setting of trs: rename it")
    declared = SETTINGS | HYPER_PARAMETERS | method.options
    for name in values:
        if name not in declared:
            raise UsageError(unknown("config", name, declared, listed=(*SETTINGS, *method.options)))
    given = {name: declared[name].parse(value) for name, value in values.items()}
    given |= {name: plugins.absolute(given[name]) for name in ("method", "model") if name in given}

    data = entry(DATA, "--data", str(given.get("data", DEFAULTS["data"])))
    for name in given:
        if name not in SETTINGS and name not in method.defaults:
            takes = ", ".join(option.flag for option in method.options.values()) or "none"
            raise UsageError(f"{plugins.short(method_name)} has no {declared[name].flag}; its options: {takes}")
        if name in method.fixed and given[name] != method.fixed[name]:
            raise UsageError(
                f"{method_name} fixes {declared[name].flag} at {method.fixed[name]:g}; use --method trs to change it"
            )

    merged: dict[str, Any] = {
        **DEFAULTS,
        **method.defaults,
        **data.recipe,
        **method.recipe,
        **data.method_recipes.get(method_name, {}),
        **given,
        **method.fixed,
    }
    lookup.model(str(merged["model"]))
    _check_method(method_name, method, merged, given)
    options = {name: merged[name] for name in method.defaults}
    if "delta_start" in options and options["delta_start"] > options["delta"]:
        options["delta_start"] = options["delta"]
    if options.get("smoothness") == "beta" and options["lambda_b"] > 0 and options["delta"] == 0:
        raise UsageError("--smoothness beta compares gradients within --delta of x: give a --delta > 0, or another --smoothness")
    if merged["augment"] and data.shape[1] == 1:
        raise UsageError(f"--augment shifts and mirrors images, {merged['data']} are points: drop it")
    merged["data_dir"] = absolute(merged["data_dir"])
    fingerprint = embedded_fingerprint(merged["data"], merged["data_dir"])
    about = {"shape": [*data.shape], "class_names": [*data.class_names]} if data.custom else {}
    settings = {name: merged[name] for name in SETTINGS}
    return TrainConfig(**settings, options=options, data_fingerprint=fingerprint, custom_data=about)


def absolute(folder: str) -> str:
    """The absolute path of a data folder; empty if none is given. Raises UsageError if it cannot be a path."""
    if plugins.is_foreign("data", folder):
        return plugins.absolute(folder)
    try:
        return str(Path(folder).expanduser().resolve()) if folder else ""
    except (OSError, RuntimeError, ValueError) as error:  # no such user, a loop of links, a zero byte
        raise UsageError(f"--data-dir {folder!r}: {error}") from error


def embedded_fingerprint(data: str, data_dir: str) -> dict[str, str]:
    """By split, the fingerprint of the files that come with trs, if a training uses them; else {}."""
    return {} if data_dir else dict(DATA[data].fingerprint)


def same_split(one: TrainConfig, other: TrainConfig, split: str) -> bool:
    """Whether two trainings have the same images and labels in a split.

    A split without a fingerprint counts as equal to any other of its data set.
    """
    mine, theirs = (config.data_fingerprint.get(split, "") for config in (one, other))
    return one.data == other.data and (mine == theirs or not (mine and theirs))


def _check_method(name: str, method: Method, merged: Mapping[str, Any], given: Mapping[str, object]) -> None:
    """Raise UsageError for settings that a method cannot train with."""
    members = merged["members"]
    if method.most_members and members > (most := method.most_members(DATA[merged["data"]].classes)):
        remedy = f"take --members {most} or fewer" if most > 1 else "take another method, or another --data"
        raise UsageError(f"{name} needs fewer members than classes: {members} are too many for {merged['data']}; {remedy}")
    if method.boost and merged["epochs"] < members:
        raise UsageError(f"{name} trains one member after another: --epochs must be at least --members, got {merged['epochs']}")
    if method.boost and merged["start_from"]:
        raise UsageError(f"{name} trains one member after another, from scratch: drop --from")
    unused = [SETTINGS[setting].flag for setting in ("adv_eps", "adv_steps") if setting in given and not merged["adversarial"]]
    if unused:
        raise UsageError(f"{', '.join(unused)} belongs to --adversarial: add it, or drop {'them' if len(unused) > 1 else 'it'}")


def from_json(stored: Mapping[str, object]) -> TrainConfig:
    """Parse what `to_json` wrote. Raises UsageError with what is wrong with the file.

    Settings that an older version did not write get their default: the default of a new setting must keep the old behaviour.
    """
    version = stored.get("format")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise UsageError("config.json has no format number: it is not a run's config, or only half written")
    if version > FORMAT:
        raise UsageError(f"the run has format {version}, this trs reads up to {FORMAT}: update trs-explorer")
    options = stored.get("options")
    missing = [name for name in REQUIRED if name not in stored]
    if missing or not isinstance(options, dict):
        raise UsageError(f"config.json lacks {', '.join(missing) or 'options'}")
    alone = stored.get("method") == IMPORTED and stored.get("members") == 1  # of what was trained elsewhere there may be one
    read = {**stored, "members": 2} if alone else stored
    values: dict[str, Any] = {name: SETTINGS[name].check(read.get(name, DEFAULTS[name])) for name in SETTINGS}
    values |= {"members": 1} if alone else {}
    name = str(values["method"])
    if plugins.runs_allowed():
        for kind, named in (("method", name), ("model", values["model"]), ("data", values["data_dir"])):
            plugins.allow(kind, named)
    method = NOT_TRAINED_HERE if name == IMPORTED else lookup.method(name, "config.json method")
    lookup.model(str(values["model"]), "config.json model")
    checked = _checked_options(name, method, options)
    about = _custom_data(values["data"], stored)
    entry(DATA, "config.json data", str(values["data"]))
    fingerprint = stored.get("data_fingerprint") or embedded_fingerprint(values["data"], values["data_dir"])
    if not isinstance(fingerprint, dict) or any(not isinstance(fingerprint.get(split, ""), str) for split in SPLITS):
        raise UsageError("config.json: data_fingerprint must hold a text for train and one for test")
    by_split = {split: fingerprint[split] for split in SPLITS if split in fingerprint}
    return TrainConfig(**values, options=checked, data_fingerprint=by_split, custom_data=about)


def _checked_options(name: str, method: Method, options: Mapping[str, object]) -> dict[str, Any]:
    """The stored options of a method, checked. Those of code that may not run cannot be checked, and are not used."""
    if isinstance(method.function, str) and plugins.is_foreign("method", name):
        return {str(key): value for key, value in options.items() if isinstance(value, float | int | str)}
    if not set(options) <= set(method.defaults):
        raise UsageError(f"config.json: {plugins.short(name)} takes the options {', '.join(method.defaults) or 'none'}")
    checked = {key: method.options[key].check(options.get(key, default)) for key, default in method.defaults.items()}
    for key, value in method.fixed.items():
        if checked[key] != value:
            raise UsageError(f"config.json: {name} has {key} {value}, not {checked[key]}")
    return checked


def _custom_data(name: str, stored: Mapping[str, object]) -> dict[str, Any]:
    """What config.json says of data of the user, which is added to the catalogue; {} for other data."""
    about, fingerprint = stored.get("custom_data") or {}, stored.get("data_fingerprint")
    if not about or name in DATA:
        return about if isinstance(about, dict) and name in DATA and DATA[name].custom else {}
    shape, names = (about.get(key) if isinstance(about, dict) else None for key in ("shape", "class_names"))
    if not isinstance(shape, list) or not isinstance(names, list) or not isinstance(fingerprint, dict):
        raise UsageError("config.json: custom_data must hold the shape of an image and the class_names, beside data_fingerprint")
    if lookup.custom_data(name.rpartition("-")[0], fingerprint, tuple(shape), tuple(names)) != name:
        raise UsageError(f"config.json: {name!r} is not the name of the data that it describes")
    return {"shape": shape, "class_names": names}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"
