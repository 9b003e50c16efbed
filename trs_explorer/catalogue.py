"""The catalogue: methods, data sets and models, one table entry each; attacks are in `attack_catalogue`. No torch.

A new one is a file with a function and an entry below. `load` resolves "module:function" when it is needed. Code of others needs
no entry: `lookup` makes one of what the user has named.
"""

import importlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from trs_explorer import plugins
from trs_explorer.catalogue_entries import Data, Entry, Method
from trs_explorer.options import UsageError, unknown
from trs_explorer.recipes import CIFAR, CIFAR_METHODS, PLANE, PLANE_METHODS, TRS
from trs_explorer.sources import CIFAR10, CIFAR100, FASHION_MNIST, Archive

METHODS = {
    "standard": Method("trs_explorer.defences.standard:standard", "mean cross-entropy only: the paper's ECE ensemble"),
    "trs": Method("trs_explorer.defences.trs:trs", "orthogonal gradients and smooth members (the paper's Eq. 1-3)", TRS),
    "cos-only": Method(
        "trs_explorer.defences.trs:trs",
        "TRS without smoothness: orthogonal gradients alone",
        TRS,
        {"lambda_b": 0.0, "delta": 0.0},
    ),
    "cos-l2": Method("trs_explorer.defences.trs:trs", "TRS with smoothness at x itself only (delta = 0)", TRS, {"delta": 0.0}),
    "smooth-only": Method("trs_explorer.defences.trs:trs", "TRS without orthogonality", TRS, {"lambda_a": 0.0}),
    "adp": Method(
        "trs_explorer.defences.adp:adp",
        "members that differ in their non-true classes (Pang et al. 2019)",
        {"lambda_entropy": 2.0, "lambda_logdet": 0.5},
        most_members=lambda classes: classes - 1,
    ),
    "gal": Method(
        "trs_explorer.defences.gal:gal",
        "gradients that point apart, leaky ReLUs, noise (Kariyappa and Qureshi 2019)",
        {"lambda_gal": 0.5, "noise": 0.045, "noise_share": 0.5},
        leaky=True,
        member_check="trs_explorer.defences.member_checks:no_plain_relu",
    ),
    "dverge": Method(
        "trs_explorer.defences.dverge:dverge",
        "each member is trained on the others' non-robust features (Yang et al. 2020)",
        {"distill_eps": 0.35, "distill_steps": 10},
        recipe={"optimizer": "sgd", "lr": 0.05, "weight_decay": 1e-4},  # by measurement on MNIST: checkpoints/README.md
        trained_start=True,
        separate_losses=True,
        member_check="trs_explorer.defences.member_checks:features_by_layers",
    ),
    "fasten": Method(
        "trs_explorer.defences.fasten:fasten",
        "each member is trained on images that a step on another member moves away in its features (IEEE TIFS)",
        {"distill_eps": 0.35, "lambda_intra": 3.0, "lambda_inter": 0.15},
        recipe={"optimizer": "sgd", "lr": 0.01, "weight_decay": 1e-4},  # by measurement on MNIST: checkpoints/README.md
        trained_start=True,
        separate_losses=True,
        member_check="trs_explorer.defences.member_checks:features_by_layers",
    ),
    "ckae": Method(
        "trs_explorer.defences.ckae:ckae",
        "members whose features differ by linear CKA: our reading, the paper only cites Kornblith et al. 2019",
        {"lambda_cka": 1.0},
        whole_batch=True,
        member_check="trs_explorer.defences.member_checks:features_by_layers",
    ),
    "parl": Method(
        "trs_explorer.defences.parl:parl",
        "first layers that react to different changes of the image: our reading of Alam et al. 2021",
        {"lambda_parl": 2.0, "parl_layers": 5},
        member_check="trs_explorer.defences.member_checks:two_affine_layers",
    ),
    "lotos": Method(
        "trs_explorer.defences.lotos:lotos",
        "layers that stretch different directions, and none much (Ebrahimpour-Boroojeny et al. 2024)",
        {"lambda_lotos": 1.0, "mal": 0.0, "spectral_clip": 2.0, "top_k": 1, "power_steps": 5},
        member_check="trs_explorer.models.affine:affine_layers",
        after_step="trs_explorer.defences.lotos:clip_norms",
    ),
    "soe": Method(
        "trs_explorer.defences.soe:soe",
        "the most confident member answers, on adversarial images: our reading of Cui et al. 2022",
        {"lambda_confidence": 1.0, "soe_sigma": 1.0, "soe_eps": 0.2, "soe_steps": 7},
        voting="confident",
        adversarial=True,
        member_check="trs_explorer.defences.soe:free_shift",
    ),
    "igat": Method(
        "trs_explorer.defences.igat:igat",
        "ADP with adversarial training that shares out the images which fool the ensemble (Deng and Mu 2023)",
        {"lambda_global": 5.0, "lambda_wrong": 10.0, "lambda_entropy": 2.0, "lambda_logdet": 0.5},
        recipe={"adversarial": True, "adv_steps": 10},  # steps of eps / 4 as its authors', who take 20
    ),
    "adaboost": Method(
        "trs_explorer.defences.adaboost:adaboost",
        "members in sequence; images that earlier ones misclassify weigh more (SAMME, Hastie et al. 2009)",
        voting="weighted",
        boost="trs_explorer.defences.adaboost:boost",
    ),
    "gradient-boost": Method(
        "trs_explorer.defences.gradient_boost:gradient_boost",
        "members in sequence, each fitted to the residual of the sum so far (Friedman 2001)",
        voting="sum",
        boost="trs_explorer.defences.gradient_boost:boost",
    ),
}

MODELS = {
    "patch": Entry("trs_explorer.models.images:patch", "pooling-free, on 4x4 patches; the fastest here"),
    "small": Entry("trs_explorer.models.images:small", "pooling-free convolutions 16-32, then 128 units"),
    "lenet": Entry("trs_explorer.models.images:lenet", "LeNet 20-50-500, with max-pooling"),
    "resnet20": Entry("trs_explorer.models.resnet:resnet20", "CIFAR-style ResNet-20, 1 or 3 channels: a GPU's work"),
    "resnet32": Entry("trs_explorer.models.resnet:resnet32", "CIFAR-style ResNet-32, 1 or 3 channels: a GPU's work"),
    "mlp": Entry("trs_explorer.models.mlp:mlp", "2-64-64 units with sine activations, for data in the plane"),
}


def _plane(name: str, summary: str, probe_eps: float) -> Data:
    return Data(
        f"trs_explorer.data.plane:{name}",
        summary,
        (1, 1, 2),
        2,
        PLANE,
        probe_eps,
        PLANE_METHODS,
        sizes=(300, 400),
    )


def _cifar(name: str, classes: int, source: Archive, class_names: tuple[str, ...] = ()) -> Data:
    summary, loader = f"photographs of {classes} things, 50,000 + 10,000", f"trs_explorer.data.cifar:{name}"
    sizes, shape = (50_000, 10_000), (3, 32, 32)
    return Data(loader, summary, shape, classes, CIFAR, 0.04, CIFAR_METHODS, source, sizes, class_names=class_names)


_IDX = 60_000, 10_000
_CIFAR10_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_FASHION_NAMES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"
)  # fmt: skip

DATA = {
    "mnist": Data(
        "trs_explorer.data.mnist:mnist",
        "handwritten digits, 60,000 + 10,000",
        (1, 28, 28),
        10,
        sizes=_IDX,
        embedded=True,
        fingerprint={
            "train": "c7789b2b856bdc342171572dfcf6d9758c7838507e85edd6439fda1ba66a2190",
            "test": "07f746d2a1c1a49d0290afcc6c463e81a7f46d784b23e89d8d7f2c3847c8b085",
        },
    ),
    "fashion-mnist": Data(
        "trs_explorer.data.fashion:fashion_mnist",
        "clothes, 60,000 + 10,000",
        (1, 28, 28),
        10,
        source=FASHION_MNIST,
        sizes=_IDX,
        class_names=_FASHION_NAMES,
    ),
    "cifar10": _cifar("cifar10", 10, CIFAR10, _CIFAR10_NAMES),
    "cifar100": _cifar("cifar100", 100, CIFAR100),
    "bars": _plane("bars", "two upright bars in the plane: the lesson's set", 0.325),
    "moons": _plane("moons", "two interleaved half circles in the plane", 0.2),
    "circles": _plane("circles", "a ring around a disc in the plane", 0.2),
}


T = TypeVar("T")

# What a training step hands to a defence that names it in its signature: training/steps.py says what each is.
STEP_CONTEXT = (
    "progress",
    "generator",
    "epoch_generator",
    "x_ce",
    "other",
    "member",
    "weights",
    "image_memory",
    "rows",
    "places",
)
LEAKY_SLOPE = 0.1  # of leaky ReLUs, for negative inputs
PUBLISHED = "published-"  # models of imported checkpoints have names that begin so: "published-resnet20"


def entry(table: Mapping[str, T], what: str, name: str) -> T:
    """The table's entry of that name. Raises UsageError with the available names."""
    if name not in table:
        raise UsageError(unknown(what, name, table))
    return table[name]


def load(function: str | Callable[..., Any]) -> Callable[..., Any]:
    """The function behind a table's "module:function". Raises UsageError for code of others that may not run."""
    if not isinstance(function, str):
        return function
    if not function.startswith("trs_explorer."):
        plugins.refuse(function)
    module, _, name = function.partition(":")
    loaded: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return loaded
