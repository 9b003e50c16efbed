"""Files as the published code writes them give members with the published networks' logits; all others are refused in words.

The tables of keys and shapes and the functional networks below restate, independently of the reader, models/lenet.py,
models/resnet.py and models/cifar_resnet.py of the TRS repository, and models/resnet.py of DVERGE.
"""

import argparse
import io
import itertools
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from trs_explorer.layouts import LAYOUTS
from trs_explorer.models import Ensemble
from trs_explorer.models.layouts import build_member, checkpoint, load_layout
from trs_explorer.models.normalize import Normalize
from trs_explorer.options import UsageError

CIFAR_MEAN, CIFAR_STD = [0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]
LENET = {
    "conv1.weight": (20, 1, 5, 5),
    "conv1.bias": (20,),
    "conv2.weight": (50, 20, 5, 5),
    "conv2.bias": (50,),
    "fc1.weight": (500, 800),
    "fc1.bias": (500,),
    "fc2.weight": (10, 500),
    "fc2.bias": (10,),
}


def resnet_table(channels: int, blocks: int) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of a published ResNet with basic blocks, in the order of its state dict."""

    def norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
        vectors = dict.fromkeys((f"{name}.{part}" for part in ("weight", "bias", "running_mean", "running_var")), (width,))
        return {**vectors, f"{name}.num_batches_tracked": ()}

    table: dict[str, tuple[int, ...]] = {"conv1.weight": (16, channels, 3, 3), **norm("bn1", 16)}
    before = 16
    for layer, width in ((1, 16), (2, 32), (3, 64)):
        for block in range(blocks):
            name = f"layer{layer}.{block}"
            table |= {f"{name}.conv1.weight": (width, before, 3, 3), **norm(f"{name}.bn1", width)}
            table |= {f"{name}.conv2.weight": (width, width, 3, 3), **norm(f"{name}.bn2", width)}
            if before != width:
                table |= {f"{name}.downsample.0.weight": (width, before, 1, 1), **norm(f"{name}.downsample.1", width)}
            before = width
    return {**table, "fc.weight": (10, 64), "fc.bias": (10,)}


def weights(table: dict[str, tuple[int, ...]], seed: int) -> dict[str, Tensor]:
    """Random weights of a size that keeps the signal; running variances are positive."""
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for key, shape in table.items():
        if key.endswith("num_batches_tracked"):
            made[key] = torch.tensor(7)
        elif key.endswith("running_var") or (len(shape) == 1 and key.endswith("weight")):
            made[key] = torch.rand(shape, generator=generator) + 0.5
        else:
            fan_in = max(1, torch.Size(shape[1:]).numel())
            made[key] = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5 * (0.2 if len(shape) == 1 else 1)
    return made


def lenet_logits(w: dict[str, Tensor], x: Tensor) -> Tensor:
    x = (x - 0.5) / 0.5
    x = F.max_pool2d(F.relu(F.conv2d(x, w["conv1.weight"], w["conv1.bias"])), 2, 2)
    x = F.max_pool2d(F.relu(F.conv2d(x, w["conv2.weight"], w["conv2.bias"])), 2, 2)
    x = F.relu(F.linear(x.view(-1, 800), w["fc1.weight"], w["fc1.bias"]))
    return F.linear(x, w["fc2.weight"], w["fc2.bias"])


def resnet_logits(w: dict[str, Tensor], x: Tensor, mean: list[float], std: list[float], slope: float = 0.0) -> Tensor:
    def norm(x: Tensor, name: str) -> Tensor:
        v = {part: w[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")}
        return F.batch_norm(x, v["running_mean"], v["running_var"], v["weight"], v["bias"])

    def bend(x: Tensor) -> Tensor:
        return F.leaky_relu(x, slope)

    x = (x - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    x = bend(norm(F.conv2d(x, w["conv1.weight"], padding=1), "bn1"))
    for layer in (1, 2, 3):
        block = 0
        while (name := f"layer{layer}.{block}") + ".conv1.weight" in w:
            stride = 2 if layer > 1 and block == 0 else 1
            out = bend(norm(F.conv2d(x, w[f"{name}.conv1.weight"], stride=stride, padding=1), f"{name}.bn1"))
            out = norm(F.conv2d(out, w[f"{name}.conv2.weight"], padding=1), f"{name}.bn2")
            if f"{name}.downsample.0.weight" in w:
                x = norm(F.conv2d(x, w[f"{name}.downsample.0.weight"], stride=stride), f"{name}.downsample.1")
            x = bend(out + x)
            block += 1
    x = F.avg_pool2d(x, x.shape[-1])  # 8 for CIFAR-10, 7 for MNIST
    return F.linear(x.flatten(1), w["fc.weight"], w["fc.bias"])


def trs_content(w: dict[str, Tensor], arch: str, prefix: str = "module.1.") -> dict[str, object]:
    """What train_trs.py saves for a member: DataParallel(Sequential(NormalizeLayer, network)), with Adam's state for all."""
    moments = {0: {"step": 390, "exp_avg": torch.zeros(3), "exp_avg_sq": torch.ones(3)}}
    groups = [{"lr": 1e-5, "betas": (0.9, 0.999), "eps": 1e-7, "weight_decay": 1e-4, "amsgrad": False, "params": [0]}]
    state = {prefix + key: value for key, value in w.items()}
    return {"epoch": 120, "arch": arch, "state_dict": state, "optimizer": {"state": moments, "param_groups": groups}}


def dverge_content(
    members: list[dict[str, Tensor]], parallel: str = "", mean: list[float] = CIFAR_MEAN, std: list[float] = CIFAR_STD
) -> dict[str, dict[str, Tensor]]:
    """What train_dverge.py saves: state dicts of ModelWrapper(model, NormalizeByChannelMeanStd), which share the normaliser."""
    normaliser = {f"{parallel}normalizer.mean": torch.tensor(mean), f"{parallel}normalizer.std": torch.tensor(std)}
    return {
        f"model_{i}": {**{f"{parallel}model.{key}": value for key, value in w.items()}, **normaliser}
        for i, w in enumerate(members)
    }


def saved(path: Path, content: object, **options: bool) -> Path:
    torch.save(content, path, **options)
    return path


def images(shape: tuple[int, int, int]) -> Tensor:
    return torch.rand(5, *shape, generator=torch.Generator().manual_seed(9))


CIFAR = images((3, 32, 32))
SMALL = resnet_table(3, 1)  # ResNet-8, where the depth does not matter: it is read as any other


@pytest.mark.parametrize(
    ("arch", "table", "data", "architecture"),
    [
        ("lenet", LENET, "mnist", "lenet"),
        ("mnist_resnet20", resnet_table(1, 3), "mnist", "resnet20"),
        ("cifar_resnet20", resnet_table(3, 3), "cifar10", "resnet20"),
        ("cifar_resnet110", resnet_table(3, 18), "cifar10", "resnet110"),
    ],
)
def test_the_trs_repositorys_files(tmp_path, arch, table, data, architecture):
    """One file for each member; its normalisation is in no file."""
    members = [weights(table, seed) for seed in range(2)]
    files = [saved(tmp_path / f"checkpoint.pth.tar.{i}", trs_content(w, arch)) for i, w in enumerate(members)]
    found = load_layout("trs", files)
    assert (found.data, found.architecture) == (data, architecture)
    assert len(found.members) == 2
    x = images((1, 28, 28)) if data == "mnist" else CIFAR
    for member, w in zip(found.members, members, strict=True):
        assert isinstance(member[0], Normalize)
        constants = ([0.5], [0.5]) if data == "mnist" else (CIFAR_MEAN, CIFAR_STD)
        expected = lenet_logits(w, x) if arch == "lenet" else resnet_logits(w, x, *constants)
        assert expected.isfinite().all()
        assert expected.std(0).min() > 0.01, "the oracle depends on the image"
        torch.testing.assert_close(member(x), expected, rtol=1e-4, atol=1e-4)
    assert found.notes[0].startswith(f"2 members, {architecture} with ReLUs for {data}, in the form of the TRS repository")
    assert found.notes[1] == f"F1 is {files[0]}, {arch} after epoch 120"


@pytest.mark.parametrize("layout", ["dverge", "adp", "gal"])
def test_the_trs_repositorys_other_methods(tmp_path, layout):
    """They have ReLUs too, GAL as well."""
    w = weights(resnet_table(1, 3), 0)
    (member,) = load_layout(layout, [saved(tmp_path / "f", trs_content(w, "mnist_resnet20"))]).members
    x = images((1, 28, 28))
    torch.testing.assert_close(member(x), resnet_logits(w, x, [0.5], [0.5]), rtol=1e-4, atol=1e-4)


ALSO_FAST = {
    ("dverge", False, ""),
    ("dverge", True, "module."),
    ("adp", True, ""),
    ("gal", False, "module."),
}  # every form, every layout


@pytest.mark.parametrize(
    ("layout", "zipped", "parallel"),
    [
        pytest.param(*one, marks=[] if one in ALSO_FAST else pytest.mark.slow)
        for one in itertools.product(["dverge", "adp", "gal"], [True, False], ["", "module."])
    ],
)
def test_dverges_file(tmp_path, layout, zipped, parallel):
    """One file for all members, as torch 1.4 wrote it too; only its GAL has leaky ReLUs."""
    members = [weights(resnet_table(3, 3), seed) for seed in range(3)]
    path = saved(tmp_path / "epoch_200.pth", dverge_content(members, parallel), _use_new_zipfile_serialization=zipped)
    found = load_layout(layout, [path])
    assert (found.data, found.architecture) == ("cifar10", "resnet20-leaky" if layout == "gal" else "resnet20")
    for member, w in zip(found.members, members, strict=True):
        assert isinstance(member[0], Normalize)
        expected = resnet_logits(w, CIFAR, CIFAR_MEAN, CIFAR_STD, slope=0.1 if layout == "gal" else 0.0)
        other = resnet_logits(w, CIFAR, CIFAR_MEAN, CIFAR_STD, slope=0.0 if layout == "gal" else 0.1)
        assert (expected - other).abs().max() > 0.1, "the slope matters"
        torch.testing.assert_close(member(CIFAR), expected, rtol=1e-4, atol=1e-4)
    kind = "leaky ReLUs of slope 0.1" if layout == "gal" else "ReLUs"
    assert found.notes == (f"3 members, resnet20 with {kind} for cifar10, in the form of the DVERGE repository",)


def test_dverges_form_for_mnist_with_other_constants(tmp_path):
    """The buffers in the file are used, and a difference from the published ones is said."""
    w = weights(resnet_table(1, 1), 0)
    found = load_layout("dverge", [saved(tmp_path / "f", dverge_content([w], mean=[0.13], std=[0.31]))])
    assert (found.data, found.architecture) == ("mnist", "resnet8")
    x = images((1, 28, 28))
    torch.testing.assert_close(found.members[0](x), resnet_logits(w, x, [0.13], [0.31]), rtol=1e-4, atol=1e-4)
    assert found.notes[0].startswith("1 member only, resnet8 ")
    assert found.notes[1] == "its normalisation differs from the published one: mean [0.13], std [0.31]"


def test_members_are_in_the_order_of_their_numbers(tmp_path):
    members = [weights(SMALL, seed) for seed in range(11)]
    content = dverge_content(members)
    found = load_layout("dverge", [saved(tmp_path / "f", {name: content[name] for name in sorted(content)})])  # model_10 third
    for member, w in zip(found.members, members, strict=True):
        assert torch.equal(member.get_parameter("fc.bias"), w["fc.bias"])


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_saved_on_a_gpu(tmp_path, monkeypatch, zipped):
    """The published code trains on one: the storages in its files say cuda:0."""
    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
    path = saved(tmp_path / "f", dverge_content([weights(SMALL, 0)]), _use_new_zipfile_serialization=zipped)
    assert b"cuda:0" in path.read_bytes()
    assert next(load_layout("dverge", [path]).members[0].parameters()).device.type == "cpu"


def test_members_are_ready_to_be_attacked_and_stored(tmp_path):
    """Eval mode; features by name; a member is built again by its names, and takes the stored weights."""
    torch.manual_seed(5)
    state = torch.get_rng_state()
    found = load_layout("gal", [saved(tmp_path / "f", dverge_content([weights(SMALL, seed) for seed in range(2)]))])
    assert torch.equal(torch.get_rng_state(), state), "the caller's random numbers go on"
    assert not any(module.training for member in found.members for module in member.modules())
    assert found.members[0].feature_layers == ("stage1", "stage2", "stage3")
    again = Ensemble([build_member(found.architecture, found.data) for _ in found.members]).eval()
    again.load_state_dict(Ensemble(found.members).state_dict())
    torch.testing.assert_close(again.member_logits(CIFAR), Ensemble(found.members).member_logits(CIFAR), rtol=0, atol=0)


def test_batch_norms_counter_may_be_missing(tmp_path):
    w = {key: value for key, value in weights(SMALL, 0).items() if not key.endswith("num_batches_tracked")}
    (member,) = load_layout("dverge", [saved(tmp_path / "f", dverge_content([w]))]).members
    torch.testing.assert_close(member(CIFAR), resnet_logits(w, CIFAR, CIFAR_MEAN, CIFAR_STD), rtol=1e-4, atol=1e-4)
    assert member.get_buffer("bn1.num_batches_tracked") == 0


def test_weights_of_16_bits_are_converted_and_float64_is_not_rounded(tmp_path):
    half = {key: value.half() if value.is_floating_point() else value for key, value in weights(SMALL, 0).items()}
    (member,) = load_layout("dverge", [saved(tmp_path / "f", dverge_content([half]))]).members
    assert torch.equal(member.get_parameter("fc.weight"), half["fc.weight"].float())
    double = {**half, "fc.weight": half["fc.weight"].double()}
    with pytest.raises(UsageError, match=r"model\.fc\.weight is float64, trs computes in float32: convert it by \.float"):
        load_layout("dverge", [saved(tmp_path / "f", dverge_content([double]))])


def changed(**values: object) -> dict[str, object]:
    return {**weights(SMALL, 0), **{key.replace("__", "."): value for key, value in values.items()}}


def without(key: str) -> dict[str, Tensor]:
    w = weights(SMALL, 0)
    del w[key]
    return w


@pytest.mark.parametrize(
    ("w", "words"),
    [
        (without("layer2.0.bn1.bias"), r"f: model_0 lacks model\.layer2\.0\.bn1\.bias \[32\]: it is of another architecture"),
        (
            changed(layer1__0__conv1__weight=torch.zeros(16, 16, 5, 5)),
            r"model\.layer1\.0\.conv1\.weight is \[16, 16, 5, 5\], expected \[16, 16, 3, 3\]: it is of another architecture",
        ),
        (
            changed(fc__weight=torch.zeros(100, 64)),
            r"model\.fc\.weight is \[100, 64\], expected \[10, 64\]: 100 classes, the published members",
        ),
        (changed(extra__weight=torch.zeros(2)), r"model_0 holds model\.extra\.weight, which the architecture has not"),
        (changed(layer1__0__conv3__weight=torch.zeros(64, 16, 1, 1)), r"has bottleneck blocks \(depth 44 or more\)"),
        (without("layer1.0.conv1.weight"), r"is not DVERGE's ResNet .*: found a dict with model\.conv1\.weight \[16, 3, "),
        (changed(fc__bias=torch.full((10,), torch.nan)), r"model\.fc\.bias is not finite: the training diverged"),
        (changed(fc__bias="ten"), r"model\.fc\.bias is not a plain tensor but a str"),
        (changed(fc__bias=torch.zeros(10).to_sparse()), r"model\.fc\.bias is not a plain tensor but a Tensor"),
        (changed(fc__bias=torch.zeros(10, device="meta")), r"model\.fc\.bias is not a plain tensor but a Tensor"),
    ],
)
def test_the_first_key_that_differs_is_named(tmp_path, w, words):
    with pytest.raises(UsageError, match=words):
        load_layout("dverge", [saved(tmp_path / "f", dverge_content([w]))])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"normalizer.mean": None}, r"lacks normalizer\.mean \[3\], the repository's normalisation"),
        ({"normalizer.std": torch.tensor([0.2, 0.0, 0.2])}, r"normalizer\.std is \[.*\], every one must be > 0"),
        ({"normalizer.std": torch.ones(1)}, r"normalizer\.std is \[1\], expected \[3\]"),
        ({"normalizer.gain": torch.ones(3)}, r"holds normalizer\.gain, which the repository's normalisation has not"),
        ({"head.weight": torch.ones(3)}, r"the key head\.weight does not start with model\. or normalizer\., as the"),
        ({("a", 1): torch.ones(3)}, r"the key \('a', 1\) does not start with"),
    ],
)
def test_what_is_wrong_with_the_wrapper_is_said(tmp_path, change, words):
    content = dverge_content([weights(SMALL, 0)])
    state = {key: value for key, value in {**content["model_0"], **change}.items() if value is not None}
    with pytest.raises(UsageError, match=words):
        load_layout("dverge", [saved(tmp_path / "f", {"model_0": state})])


@pytest.mark.parametrize(
    ("layout", "content", "words"),
    [
        (
            "trs",
            {"model_0": {"model.conv1.weight": torch.zeros(1)}},
            r"f is not in the layout trs: found a dict with model_0 \(dict\); expected one file for each member "
            r"\(checkpoint.*module\.1\.conv1\.weight, \.\.\. \(it has the form of the "
            r"DVERGE repository: is it --layout dverge, adp, gal\?\)",
        ),
        (
            "adp",
            {"net": {}, "acc": 93.1, "epoch": 3, 4: 4, "e": [], "f": (), "g": 0},
            r"found a dict with net \(dict\), acc \(float\), epoch \(int\), 4 \(int\), e \(list\), 2 more; expected one",
        ),
        ("dverge", weights(SMALL, 0), r"found a dict with conv1\.weight \[16, 3, 3, 3\], bn1\.weight \[16\], .* more; expected"),
        ("dverge", torch.zeros(3, 2), r"found a tensor \[3, 2\]; expected"),
        ("dverge", [weights(SMALL, 0)], "found a list; expected"),
        ("dverge", {}, "found an empty dict; expected"),
        ("dverge", {"model_0": torch.zeros(3)}, r"model_0 is a tensor \[3\], expected a state dict"),
        ("dverge", {"model_0": {}}, "model_0: its state dict is empty"),
        ("trs", trs_content({}, "lenet"), "f: its state dict is empty"),
        ("trs", trs_content(weights(LENET, 0), "vgg\x1b[2J"), r"arch vgg\\x1b\[2J is none of the repository: .* lenet, "),
        ("trs", trs_content(weights(LENET, 0), "resnet50"), "arch resnet50 is for ImageNet, no data set of trs"),
        ("trs", trs_content(weights(LENET, 0), "lenet", "0."), r"the key 0\.conv1\.weight does not start with 1\., as the"),
        (
            "trs",
            trs_content(weights(LENET, 0), "cifar_resnet20"),
            r"lacks module\.1\.bn1\.weight \[16\]|module\.1\.conv1\.weight is \[20, 1, 5, 5\], expected \[16, 3, 3, 3\]",
        ),
    ],
)
def test_a_wrong_layout_says_what_was_found_and_expected(tmp_path, layout, content, words):
    with pytest.raises(UsageError, match=words) as raised:
        load_layout(layout, [saved(tmp_path / "f", content)])
    assert str(raised.value).isprintable()


def test_trs_files_without_dataparallel(tmp_path):
    w = weights(LENET, 0)
    (member,) = load_layout("trs", [saved(tmp_path / "f", trs_content(w, "lenet", "1."))]).members
    x = images((1, 28, 28))
    torch.testing.assert_close(member(x), lenet_logits(w, x), rtol=1e-4, atol=1e-4)


def test_the_files_must_make_one_ensemble(tmp_path):
    lenet = saved(tmp_path / "lenet", trs_content(weights(LENET, 0), "lenet"))
    resnet = saved(tmp_path / "resnet", trs_content(weights(resnet_table(3, 3), 0), "cifar_resnet20"))
    whole = saved(tmp_path / "whole", dverge_content([weights(SMALL, 0)]))
    for layout, files, words in (
        ("trs", [lenet, resnet], r"lenet: lenet for mnist, .*resnet: resnet20 for cifar10: import members of one architecture"),
        ("dverge", [whole, lenet], "whole holds a whole ensemble: give it alone"),
        ("trs", [lenet, tmp_path / ".." / tmp_path.name / "lenet"], "lenet is given twice"),
        ("trs", [], r"--layout trs needs the files to read: one file for each member \(checkpoint\.pth\.tar\.0"),
        ("TRS", [lenet], "--layout: there is no 'TRS'.* Choose from trs, dverge, adp, gal"),
    ):
        with pytest.raises(UsageError, match=words):
            load_layout(layout, files)


def test_the_common_start_of_the_members_names_is_not_a_file(tmp_path):
    """The repository's scripts take it as their argument."""
    for i in (0, 2, 10):
        (tmp_path / f"checkpoint.pth.tar.{i}").touch()
    names = "checkpoint.pth.tar.0, checkpoint.pth.tar.2, checkpoint.pth.tar.10"
    with pytest.raises(UsageError, match=f"there is no file .*checkpoint.pth.tar: give the members' files, {names}$"):
        load_layout("trs", [tmp_path / "checkpoint.pth.tar"])
    with pytest.raises(UsageError, match=r"there is no file .*/other: correct its name"):
        load_layout("trs", [tmp_path / "other"])


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (np.float64(93.1), r"numpy\._core\.multiarray\.scalar"),
        (argparse.Namespace(lr=0.1), r"argparse\.Namespace"),
        (torch.nn.Linear(2, 2), r"torch\.nn\.modules\.linear\.Linear"),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_objects_of_other_classes_are_refused_by_name(tmp_path, value, name, zipped):
    content = {**trs_content(weights(LENET, 0), "lenet"), "best": value}
    path = saved(tmp_path / "f", content, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UsageError, match=rf"f holds an object made by {name}, and no code in a file is run: in an environment"):
        load_layout("trs", [path])


class Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("zipped", [True, False])
def test_no_code_in_a_file_runs(tmp_path, zipped):
    path = saved(tmp_path / "f", {"model_0": Hostile(tmp_path / "touched")}, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UsageError, match="holds an object made by getattr, and no code"):
        load_layout("dverge", [path])
    assert not (tmp_path / "touched").exists()


def packed(content: object) -> bytes:
    """A zip archive as torch.save writes it, but compressed."""
    torch.save(content, plain := io.BytesIO())
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(made := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    return made.getvalue()


def script() -> bytes:
    """A zip archive with the entries by which torch.load tells a TorchScript archive."""
    with zipfile.ZipFile(made := io.BytesIO(), "w") as archive:
        for name in ("f/data.pkl", "f/constants.pkl"):
            archive.writestr(name, b"\x80\x02}.")
    return made.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x89HDF\r\n\x1a\n" + bytes(99), r"is a Keras file \(\.h5\), as ADP's authors publish them: .* trs import FILE\.py"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a Git LFS pointer, .*: git lfs pull"),
        (b"\x1f\x8b\x08", "is packed by gzip: unpack it first"),
        (b"", r"is no file of torch\.save \(\.pth\) but empty"),
        (b'\x40\0\0\0\0\0\0\0{"a":', r"is no file of torch\.save \(\.pth\) but a safetensors file"),
        (pickle.dumps({"a": 1}), r"is no file of torch\.save \(\.pth\) but another kind of file"),
        (b"PK\x03\x04" + bytes(200), "is a damaged archive: download or copy it again"),
        (packed({"model_0": {"a": torch.zeros(10**6)}}), "is a packed zip archive: unpack it"),
        (script(), "is a TorchScript archive, whose code is not run"),
    ],
)
def test_what_stands_in_the_place_of_a_checkpoint_is_said_for_what_it_is(tmp_path, content, words):
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(UsageError, match=f"/f {words}"):
        load_layout("adp", [tmp_path / "f"])


def test_sizes_and_kinds_are_checked_before_reading(tmp_path, monkeypatch):
    path = saved(tmp_path / "f", dverge_content([weights(SMALL, 0)]))
    monkeypatch.setattr(checkpoint, "MAX_BYTES", 1000)
    with pytest.raises(UsageError, match="f cannot be read: it is larger than 1,000 bytes"):
        load_layout("dverge", [path])
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "."):
        with pytest.raises(UsageError, match="cannot be read: it is not a regular file"):
            load_layout("dverge", [tmp_path / name])


def message_of(layout: str, path: Path) -> str:
    """The error for a file; empty if there is none."""
    try:
        load_layout(layout, [path])
    except UsageError as error:
        return str(error)
    return ""


@pytest.mark.slow
@pytest.mark.parametrize("zipped", [True, False])
def test_damaged_files_are_refused_in_words(tmp_path, zipped):
    """Truncated or changed anywhere: an error in words, or (where a weight or padding was hit) members; never a traceback."""
    raw = saved(tmp_path / "f", dverge_content([weights(SMALL, 0)]), _use_new_zipfile_serialization=zipped).read_bytes()
    random = np.random.default_rng(0)
    heads = random.integers(0, 8000, 40)  # the pickle
    tails = random.integers(len(raw) - 6000, len(raw), 20)  # the archive's directory, or storages
    refused = 0
    for at in (*heads, *tails):
        (tmp_path / "f").write_bytes(raw[:at] + bytes([raw[at] ^ 0x55]) + raw[at + 1 :])
        message = message_of("dverge", tmp_path / "f")
        assert message.isprintable()
        refused += bool(message)
    assert refused > 20
    for size in random.integers(70, len(raw) - 1, 20):
        (tmp_path / "f").write_bytes(raw[:size])
        with pytest.raises(UsageError):
            load_layout("dverge", [tmp_path / "f"])


def test_a_small_file_cannot_claim_many_members(tmp_path):
    """By reference, a member more costs a file a few bytes, and us a network."""
    state = dverge_content([weights(SMALL, 0)])["model_0"]
    path = saved(tmp_path / "f", {f"model_{i}": state for i in range(200)})
    with pytest.raises(UsageError, match=r"f holds [0-9,]+ bytes, its weights need 6.,...,...: members share weights, or"):
        load_layout("dverge", [path])


def test_a_large_tensor_without_storage_is_not_made(tmp_path):
    wide = torch.zeros(1).expand(10, 1 << 40)
    with pytest.raises(UsageError, match="its weights need 43,980,4"):
        load_layout("dverge", [saved(tmp_path / "f", dverge_content([changed(fc__weight=wide)]))])


def test_too_little_memory_is_said_to_be_that(tmp_path, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise MemoryError

    path = saved(tmp_path / "f", dverge_content([weights(SMALL, 0)]))
    for module, name in ((torch, "load"), (checkpoint, "read_bytes")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, full)
            with pytest.raises(UsageError, match="f: there is not enough memory"):
                load_layout("dverge", [path])


@pytest.mark.parametrize(
    ("architecture", "data"), [("vgg", "mnist"), ("resnet21", "cifar10"), ("resnet2", "cifar10"), ("resnet20", "cifar100")]
)
def test_build_member_refuses_what_no_repository_has(architecture, data):
    with pytest.raises(UsageError, match=r"architecture must be lenet, resnetN|layouts are of the data sets mnist, cifar10"):
        build_member(architecture, data)


def test_the_names_are_there_without_torch():
    """`trs import --help` lists them."""
    code = "import sys, trs_explorer.layouts; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert list(LAYOUTS) == ["trs", "dverge", "adp", "gal"]
    assert all(layout.summary.isprintable() and len(layout.summary) < 110 for layout in LAYOUTS.values())
