"""Make a run of an ensemble that was trained elsewhere: its weights in a run folder, beside the name of what builds it."""

import hashlib
from pathlib import Path

from safetensors.torch import save as pack_weights

from trs_explorer import plugins, runs
from trs_explorer.catalogue import DATA
from trs_explorer.config import IMPORTED, TrainConfig
from trs_explorer.data import load
from trs_explorer.evaluation.intervals import wilson
from trs_explorer.evaluation.trust.import_checks import check_import, in_training
from trs_explorer.events import EventWriter
from trs_explorer.files import cannot_write, write_atomically
from trs_explorer.measure.session import Reporting
from trs_explorer.models.batch_size import fitting_batch
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.factory import build_for
from trs_explorer.options import UsageError
from trs_explorer.runs import Run, RunError

N_CHECKED, N_CHECKED_HEAVY = 200, 32  # test images that the ensemble is checked on; one of which a pass takes few images


def imported_config(model: str, data: str, *, data_dir: str, fingerprint: dict[str, str], members: int) -> TrainConfig:
    """Return the config of an imported run. Its settings of a training mean nothing and are the defaults.

    model: what builds the whole ensemble (code of others), or a model of the catalogue of which there are `members`.
    """
    about = DATA[data]
    custom_data = {"shape": [*about.shape], "class_names": [*about.class_names]} if about.custom else {}
    config = TrainConfig(IMPORTED, data, plugins.absolute(model), members, epochs=1, data_dir=data_dir)
    return TrainConfig(**{**vars(config), "data_fingerprint": fingerprint, "custom_data": custom_data})


def import_run(
    config: TrainConfig,
    out: Path,
    *,
    ensemble: Ensemble | None = None,
    origin: str = "",
    reporting: Reporting | None = None,
) -> tuple[Run, Ensemble]:
    """Build the ensemble of an imported config, check it on test images, and write it as a run. Returns both.

    - config: see `imported_config`; its number of members is corrected.
    - ensemble: trained members in the form that the config builds, if they are not what it builds by itself.
    - origin: where the weights are from, for the log.
    - reporting: progress, and everything that the checks find.

    Raises: UsageError for an ensemble that does not fit the data; RunError if the folder is not empty or cannot be written.
    """
    runs.check_free(out)
    made = build_for(config) if ensemble is None else ensemble
    was_training = in_training(made)
    made.eval()
    broken = next((name for name, value in made.named_parameters() if not bool(value.isfinite().all())), None)
    if broken:
        raise UsageError(f"the weights {broken} are not finite: this ensemble cannot be used")
    test = load(config.data, train=False, data_dir=config.data_dir)
    reporting = reporting or Reporting()
    size = min(fitting_batch(member, test.images(slice(0, 1)), most=N_CHECKED) for member in made.members)
    few = slice(0, N_CHECKED if size == N_CHECKED else N_CHECKED_HEAVY)
    x, y = test.images(few), test.y[few]
    warnings = []
    for found in check_import(made, x, y, was_training=was_training, batch_size=size):
        reporting.progress(found.members, len(made), f"checks on {len(y)} test images")
        if found.warning:
            warnings.append(found.warning)
            reporting.notify(f"warning: {found.warning}")
        if found.correct is not None:
            low, high = wilson(found.correct, len(y))
            share = f"{100 * found.correct / len(y):.1f} % ({100 * low:.1f}-{100 * high:.1f})"
            reporting.notify(f"F{found.members}: {found.correct} of {len(y)} test images correct, {share}")
    config = TrainConfig(**{**vars(config), "members": len(made)})
    run = runs.create(out, config)
    with runs.discard_unless_begun(run):
        _write(run, made, origin or f"built by {plugins.short(config.model)}", warnings)
    return run, made


def _write(run: Run, ensemble: Ensemble, origin: str, warnings: list[str]) -> None:
    weights = pack_weights({name: value.detach().cpu().clone().contiguous() for name, value in ensemble.state_dict().items()})
    checkpoint = run.new_checkpoint(0, 0)
    parameters = sum(parameter.numel() for parameter in ensemble.parameters())
    try:
        write_atomically(checkpoint.weights, lambda path: path.write_bytes(weights))
        writer = EventWriter(run)
        writer.write("start", step=0, steps=0, epoch=0, epochs=0, device="cpu", parameters=parameters, options={})
        for text in (f"imported: {origin}", *warnings):
            writer.write("note", step=0, text=text)
        writer.write("checkpoint", step=0, epoch=0, name=checkpoint.name, sha256=hashlib.sha256(weights).hexdigest())
        writer.write("stopped", state="finished", step=0, epoch=0)
        writer.close()
        run.write_status(state="finished", step=0, steps=0, epoch=0, epochs=0)
    except OSError as error:
        raise RunError(cannot_write(run.path, error)) from error
