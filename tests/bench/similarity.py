"""Print the mean |cos| of each shipped run's members: at images by log-odds and cross-entropy, and at random points around them.

`python tests/bench/similarity.py [RUN ...]` prints what checkpoints/README.md says under "How similar the gradients are".
"""

import sys

import torch

from trs_explorer.data import load_for
from trs_explorer.gradients import MIN_NORM, Images, Labels, input_gradients, log_odds, pair_mean, pairwise_cosine
from trs_explorer.measure.session import load_newest
from trs_explorer.models import Ensemble
from trs_explorer.models.eval_mode import eval_mode
from trs_explorer.shipped import shipped_runs

IMAGES, NEAR, RADII, BATCH = 1000, 500, (0.1, 0.3), 250


def mean_cosine(ensemble: Ensemble, x: Images, y: Labels, **of: object) -> tuple[float, float]:
    """The mean |cos| over pairs and images, where a vanishing gradient counts as 0; and the share that vanishes."""
    parts = zip(x.split(BATCH), y.split(BATCH), strict=True)
    gradients = torch.cat([input_gradients(ensemble, images, labels, **of)[1] for images, labels in parts], 1)
    norms = torch.linalg.vector_norm(gradients.flatten(2), dim=-1)
    cosines = pair_mean(pairwise_cosine(gradients).abs().mean(-1))
    return cosines.item(), (norms < MIN_NORM).double().mean().item()


def main(names: list[str]) -> None:
    """Print a line per run. names: only these."""
    print(f"first {IMAGES} test images: by log-odds, by cross-entropy, of whose gradients vanish;", end=" ")
    print(f"by log-odds at one point within eps {RADII} of each of the first {NEAR}")
    for run in shipped_runs():
        if names and run.name not in names:
            continue
        ensemble, _ = load_newest(run, "cpu")
        test = load_for(run, train=False)
        x, y = test.images(slice(0, IMAGES)), test.y[:IMAGES]
        generator = torch.Generator().manual_seed(0)
        with eval_mode(ensemble):
            here, (loss, vanishing) = mean_cosine(ensemble, x, y, of=log_odds)[0], mean_cosine(ensemble, x, y)
            near = []
            for eps in RADII:
                low, high = (x[:NEAR] - eps).clamp_min(0), (x[:NEAR] + eps).clamp_max(1)
                points = low + torch.rand(low.shape, generator=generator) * (high - low)
                near.append(mean_cosine(ensemble, points, y[:NEAR], of=log_odds)[0])
        print(f"{run.name:22} {here:.3f} {loss:.3f} {vanishing:4.0%}   " + " ".join(f"{value:.3f}" for value in near), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
