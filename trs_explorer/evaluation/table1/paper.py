"""The figures of the TRS paper's Table 1: robust accuracy in per cent, three members, white-box attacks. Not ours."""

from dataclasses import dataclass

from trs_explorer.catalogue import DATA
from trs_explorer.config import TrainConfig

METHODS = ("adaboost", "gradient-boost", "ckae", "adp", "gal", "dverge", "cos-only", "cos-l2", "trs")


@dataclass(frozen=True)
class PaperRow:
    """A row of the paper's table.

    - parameter: of the attack: its radius eps, or the constant c for CW and EAD.
    - figures: robust accuracy in per cent for each of METHODS.
    """

    attack: str
    parameter: float
    figures: tuple[float, ...]


TABLE1 = {
    "mnist": (
        PaperRow("fgsm", 0.1, (70.2, 73.2, 72.6, 71.7, 35.7, 95.8, 66.2, 91.2, 95.6)),
        PaperRow("fgsm", 0.2, (39.4, 34.2, 42.5, 20.0, 7.8, 91.6, 30.7, 72.5, 91.7)),
        PaperRow("bim", 0.1, (2.6, 2.4, 4.2, 7.7, 4.6, 74.9, 0.4, 76.2, 93.3)),
        PaperRow("bim", 0.15, (0.0, 0.2, 0.4, 0.1, 2.5, 47.7, 0.0, 47.9, 85.7)),
        PaperRow("pgd", 0.1, (1.9, 1.5, 1.4, 4.5, 4.1, 69.2, 0.0, 73.4, 93.0)),
        PaperRow("pgd", 0.15, (0.0, 0.0, 0.5, 1.0, 0.6, 28.8, 0.0, 30.2, 85.1)),
        PaperRow("mim", 0.1, (1.9, 1.6, 1.2, 13.8, 0.8, 75.3, 0.4, 74.1, 92.9)),
        PaperRow("mim", 0.15, (0.0, 0.1, 0.3, 1.0, 0.2, 44.6, 0.0, 35.5, 85.1)),
        PaperRow("cw", 0.1, (81.2, 80.5, 83.4, 97.9, 97.4, 97.3, 85.6, 89.2, 98.1)),
        PaperRow("cw", 1.0, (66.3, 65.8, 69.5, 90.1, 68.3, 79.2, 58.6, 54.4, 92.6)),
        PaperRow("ead", 5.0, (0.2, 0.1, 0.1, 2.2, 0.2, 0.0, 4.1, 6.9, 23.3)),
        PaperRow("ead", 10.0, (0.0, 0.0, 0.0, 0.0, 0.2, 0.0, 0.5, 0.8, 1.4)),
        PaperRow("apgd-dlr", 0.1, (0.5, 0.2, 0.5, 2.1, 1.9, 65.4, 0.0, 70.6, 92.1)),
        PaperRow("apgd-dlr", 0.15, (0.0, 0.0, 0.1, 0.5, 0.2, 27.4, 0.0, 26.3, 83.4)),
        PaperRow("apgd-ce", 0.1, (0.2, 0.2, 0.1, 1.4, 1.2, 63.2, 0.0, 69.8, 91.7)),
        PaperRow("apgd-ce", 0.15, (0.0, 0.0, 0.1, 0.4, 0.2, 26.1, 0.0, 25.4, 82.8)),
    ),
    "cifar10": (
        PaperRow("fgsm", 0.02, (28.2, 30.4, 34.1, 58.8, 19.2, 63.8, 56.1, 35.8, 44.2)),
        PaperRow("fgsm", 0.04, (15.4, 15.2, 18.5, 39.4, 12.6, 53.4, 35.0, 25.9, 24.9)),
        PaperRow("bim", 0.01, (4.2, 4.4, 5.1, 13.8, 13.0, 39.1, 0.0, 17.1, 50.6)),
        PaperRow("bim", 0.02, (0.2, 0.1, 0.2, 0.9, 2.5, 13.0, 0.0, 1.2, 15.8)),
        PaperRow("pgd", 0.01, (2.1, 1.9, 1.9, 9.0, 8.3, 37.1, 0.0, 15.7, 50.5)),
        PaperRow("pgd", 0.02, (0.0, 0.0, 0.2, 0.1, 0.6, 10.5, 0.0, 0.5, 15.1)),
        PaperRow("mim", 0.01, (2.3, 1.9, 2.0, 18.7, 10.3, 40.7, 0.0, 18.1, 51.5)),
        PaperRow("mim", 0.02, (0.1, 0.0, 0.1, 1.7, 0.8, 14.4, 0.0, 0.5, 17.2)),
        PaperRow("cw", 0.01, (36.2, 35.2, 35.4, 55.8, 66.3, 75.1, 36.6, 67.3, 77.2)),
        PaperRow("cw", 0.1, (18.4, 26.2, 23.0, 25.9, 28.3, 57.4, 17.6, 30.7, 58.1)),
        PaperRow("ead", 1.0, (0.2, 0.0, 0.0, 9.0, 0.0, 0.2, 0.0, 0.0, 11.7)),
        PaperRow("ead", 5.0, (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.1)),
        PaperRow("apgd-dlr", 0.01, (1.2, 0.9, 1.1, 5.5, 2.2, 37.6, 0.0, 16.1, 50.2)),
        PaperRow("apgd-dlr", 0.02, (0.0, 0.0, 0.0, 0.2, 0.0, 10.2, 0.0, 0.5, 15.1)),
        PaperRow("apgd-ce", 0.01, (0.9, 0.2, 0.4, 3.9, 1.6, 37.5, 0.0, 15.9, 48.6)),
        PaperRow("apgd-ce", 0.02, (0.0, 0.0, 0.0, 0.1, 0.0, 10.2, 0.0, 0.5, 15.0)),
    ),
}
ATTACKS = tuple(dict.fromkeys(row.attack for row in TABLE1["mnist"]))  # in the paper's order
# The radii of the paper's Figure 2: robust accuracy under black-box attacks.
BLACK_BOX_EPS = {"mnist": (0.1, 0.2, 0.3, 0.4), "cifar10": (0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07)}


def parameters(data: str, attack: str) -> tuple[float, ...]:
    """The paper's eps or c for an attack on a data set; those of its PGD for an attack that it does not have."""
    rows = TABLE1.get(data, ())
    exact = tuple(row.parameter for row in rows if row.attack == attack)
    return exact or tuple(row.parameter for row in rows if row.attack == "pgd")


def deviations(config: TrainConfig, checkpoint: str) -> list[str]:
    """How a training deviates from those of the paper's table, in words; empty where the two may be compared.

    The model, the recipe and the budget are always different. checkpoint: its name; before the last epoch a training is not over.
    """
    augmented, usual = config.augment, bool(DATA[config.data].recipe.get("augment"))
    epoch = int(checkpoint.partition("-")[0])
    words = {
        "adversarial": config.adversarial or config.about_method.adversarial,
        f"{config.members} members": config.members != 3,
        "trained elsewhere": config.imported,
        f"epoch {epoch} of {config.epochs}": epoch < config.epochs and not config.imported,
        f"of {config.limit:,} images": config.limit > 0,
        "augmented" if augmented else "not augmented": augmented != usual,
        f"from {config.start_from}": bool(config.start_from) and not config.about_method.trained_start,
    }
    return [text for text, holds in words.items() if holds]


def is_comparable(config: TrainConfig, checkpoint: str, steps: int, restarts: int) -> bool:
    """Whether the paper's figures may be shown beside a run's: no deviation, 50 attack steps, one start."""
    return not deviations(config, checkpoint) and (steps, restarts) == (50, 1)


def figure(data: str, attack: str, parameter: float, method: str) -> float | None:
    """The paper's robust accuracy in per cent; None where it has none."""
    for row in TABLE1.get(data, ()):
        if (row.attack, row.parameter) == (attack, parameter) and method in METHODS:
            return row.figures[METHODS.index(method)]
    return None
