"""A run that is stored in float16 loads with its own hashes, and predicts as its weights do."""

import pytest
import torch
from half import store_half
from safetensors.torch import load_file, save_file

from trs_explorer.models.stored import load_ensemble
from trs_explorer.runs import open_run
from trs_explorer.shipped import folder

RUN = folder("checkpoints") / "bars-trs"


def test_the_copy_loads_and_holds_the_rounded_weights(tmp_path):
    store_half(RUN, tmp_path / "half")
    run = open_run(tmp_path / "half")
    assert [c.name for c in run.checkpoints()] == [c.name for c in open_run(RUN).checkpoints()]
    ensemble, digest = load_ensemble(run)  # compares the file with the log
    whole, before = load_ensemble(open_run(RUN))
    assert digest != before
    for name, value in ensemble.state_dict().items():
        torch.testing.assert_close(value, whole.state_dict()[name].half().float(), rtol=0, atol=0)
    x = torch.rand(64, 1, 1, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ensemble(x), whole(x), rtol=0.05, atol=0.05)
    assert sum(f.stat().st_size for f in (tmp_path / "half").glob("*.safetensors")) < 0.8 * sum(
        f.stat().st_size for f in RUN.glob("*.safetensors")
    )


def test_a_weight_beyond_float16_is_refused(tmp_path):
    (tmp_path / "run").mkdir()
    for name in ("config.json", "status.json", "events.jsonl"):
        (tmp_path / "run" / name).write_bytes((RUN / name).read_bytes())
    weights = load_file(RUN / "epoch-0800.safetensors")
    name = next(iter(weights))
    save_file({**weights, name: weights[name] + 1e6}, tmp_path / "run" / "epoch-0800.safetensors")
    with pytest.raises(ValueError, match="beyond the range"):
        store_half(tmp_path / "run", tmp_path / "half")
