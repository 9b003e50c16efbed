"""The explorer's slices and attack paths as what `figures.slices` draws."""

import numpy as np
import torch

from trs_explorer.figures.slice_data import Attacks, Slice
from trs_explorer.web.attack_paths import AttackPaths
from trs_explorer.web.slice_view import SliceView


def slice_to_draw(view: SliceView, logits: np.ndarray) -> Slice:
    """Return a slice for `slice_figure`. logits: the members', as `slices.assemble` returns them."""
    return Slice(
        models=view.models,
        outputs=with_ensemble(view, logits),
        low=view.low,
        high=view.high,
        axes=view.plane.names,
        box=None if view.plane.kind == "domain" else view.box,
        examples=view.examples,
    )


def with_ensemble(view: SliceView, logits: np.ndarray) -> np.ndarray:
    """Append the ensemble's outputs to the members' logits [row, column, member, class]."""
    members = torch.from_numpy(np.ascontiguousarray(logits)).movedim(2, 0)
    vote = view.loaded.ensemble.vote(members.flatten(1, 2)).view(members.shape[1:])
    return np.concatenate([logits, vote[:, :, None].numpy()], axis=2)


def attacks_to_draw(attacks: AttackPaths) -> Attacks:
    """Return attack paths for `slice_figure`."""
    models = range(len(attacks.before))
    return Attacks(
        name=attacks.attack,
        start=attacks.start,
        ball=attacks.ball,
        paths=attacks.paths,
        fools=np.array([[attacks.fools(attacked, model) for model in models] for attacked in models]),
        headlines=[attacks.headline(model) for model in models],
    )
