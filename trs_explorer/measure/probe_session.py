"""Measure a training's probe again, on a run's newest weights."""

import torch

from trs_explorer import data
from trs_explorer.catalogue import DATA
from trs_explorer.evaluation.probe import probe, probe_images
from trs_explorer.files import Json, finite
from trs_explorer.measure.session import describe, load_newest
from trs_explorer.runs import Run


def probe_run(run: Run, *, device: torch.device | str = "cpu", data_dir: str = "") -> Json:
    """The probe that the training of a run makes after an epoch, of its newest weights: the same images, eps, steps and seed.

    - device: where to compute.
    - data_dir: folder with the data, if it is not where the run's config says.

    Returns: what a probe's event in the log holds (`evaluation.probe`), and what every stored result says. Not finite: null.
    """
    ensemble, loaded = load_newest(run, device)
    held_out = data.load_for(run, train=False, data_dir=data_dir)
    x, y = probe_images(held_out)
    recorded = run.recorded(run.checkpoints()[-1])
    result = probe(ensemble, x.to(device), y.to(device), eps=DATA[run.config.data].probe_eps, seed=run.config.seed)
    return {
        **describe(loaded, held_out, f"last {len(x)} test images", device, run.config.seed),
        "kind": "probe",
        "step": recorded.get("step"),
        "epoch": recorded.get("epoch"),
        **{name: finite(value, name, []) for name, value in result.items()},
    }
