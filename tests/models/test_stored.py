"""Weights files: what stands in their place is said for what it is, 16 bits are taken, and none can fill the memory."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from trs_explorer import runs
from trs_explorer.config import resolve
from trs_explorer.models import Ensemble, build, stored


@pytest.fixture
def ensemble() -> Ensemble:
    return build("mlp", "bars", 2, seed=0)


def written(path: Path, ensemble: Ensemble, dtype: torch.dtype) -> Path:
    save_file({name: value.to(dtype) for name, value in ensemble.state_dict().items()}, path)
    return path


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_in_16_bits_are_converted(tmp_path: Path, ensemble: Ensemble, dtype: torch.dtype) -> None:
    other = build("mlp", "bars", 2, seed=1)
    stored.load_weights(written(tmp_path / "w", ensemble, dtype), other)
    for mine, theirs in zip(ensemble.state_dict().values(), other.state_dict().values(), strict=True):
        assert theirs.dtype == torch.float32
        assert torch.equal(mine.to(dtype).float(), theirs)


def test_float64_is_not_rounded_without_a_word(tmp_path: Path, ensemble: Ensemble) -> None:
    with pytest.raises(runs.RunError, match=r"is float64, trs computes in float32: convert it by \.to\(torch\.float32\)"):
        stored.load_weights(written(tmp_path / "w", ensemble, torch.float64), ensemble)


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 12345\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (LFS, "is a Git LFS pointer, not the file itself: fetch it by: git lfs pull"),
        (b"/annex/objects/SHA256E-s1--0.safetensors\n", "is a git-annex pointer"),
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", r"is a pickle \(\.pth\)"),
        (b"", "is missing or damaged: it is empty"),
        (b"\xff" * 100, "is missing or damaged: it is not a safetensors file, or truncated"),
        (bytes(8 << 20), "it is larger than"),
    ],
)
def test_what_stands_in_the_place_of_weights_is_said_for_what_it_is(
    tmp_path: Path, ensemble: Ensemble, content: bytes, words: str
) -> None:
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(runs.RunError, match=words):
        stored.load_weights(tmp_path / "w", ensemble)


def test_a_file_of_torch_save_is_named_whatever_its_size(tmp_path: Path, ensemble: Ensemble) -> None:
    torch.save({**ensemble.state_dict(), "optimizer": torch.zeros(1 << 20)}, tmp_path / "w")
    with pytest.raises(runs.RunError, match=r"is a file of torch\.save \(\.pth\), a pickle: load it in torch and write it with"):
        stored.load_weights(tmp_path / "w", ensemble)


def test_no_length_of_a_header_looks_like_a_pickle(tmp_path: Path, ensemble: Ensemble) -> None:
    """A file begins with its header's length; 0x80 begins a pickle, too."""
    raw = written(tmp_path / "w", ensemble, torch.float32).read_bytes()
    length = int.from_bytes(raw[:8], "little")
    padding = (0x80 - length) % 256
    padded = (length + padding).to_bytes(8, "little") + raw[8 : 8 + length] + b" " * padding + raw[8 + length :]
    assert padded[0] == 0x80
    (tmp_path / "w").write_bytes(padded)
    stored.load_weights(tmp_path / "w", build("mlp", "bars", 2, seed=1))


def test_infinities_are_damage_unless_the_model_is_built_with_them(tmp_path: Path) -> None:
    def masked(mask: float, weight: float = 1.0) -> Ensemble:
        member = torch.nn.Linear(2, 2)
        member.register_buffer("mask", torch.tensor([0.0, mask]))
        torch.nn.init.constant_(member.weight, weight)
        return Ensemble([member])

    save_file(masked(float("-inf")).state_dict(), tmp_path / "w")
    stored.load_weights(tmp_path / "w", masked(float("-inf")))
    with pytest.raises(runs.RunError, match=r"is damaged: members\.0\.mask is not finite"):
        stored.load_weights(tmp_path / "w", masked(1.0))
    save_file(masked(float("-inf"), float("inf")).state_dict(), tmp_path / "w")
    with pytest.raises(runs.RunError, match=r"is damaged: members\.0\.weight is not finite"):
        stored.load_weights(tmp_path / "w", masked(float("-inf")))


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: Path(path).symlink_to("/dev/zero")])
def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path, ensemble: Ensemble, make) -> None:
    make(tmp_path / "w")
    with pytest.raises(runs.RunError, match="is missing or damaged: "):
        stored.load_weights(tmp_path / "w", ensemble)


def test_too_little_memory_is_said_to_be_that(tmp_path: Path, ensemble: Ensemble, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    path = written(tmp_path / "w", ensemble, torch.float32)
    for name in ("parse_weights", "read_bytes"):
        with monkeypatch.context() as patch:
            patch.setattr(stored, name, full)
            with pytest.raises(runs.RunError, match="there is not enough memory"):
                stored.load_weights(path, ensemble)


def test_a_loaded_ensemble_is_in_eval_mode(tmp_path: Path) -> None:
    """A batch norm in training mode would answer by the batch, and learn from it."""
    run = runs.create(tmp_path / "run", resolve({"data": "mnist", "model": "resnet20", "members": 2}))
    ensemble = build("resnet20", "mnist", 2, seed=0)
    save_file(ensemble.state_dict(), run.path / "epoch-0001.safetensors")
    loaded, _ = stored.load_ensemble(run)
    assert not any(module.training for module in loaded.modules())
