"""The slices of both runs through one image: the same plane and square, each with the attacks on its own models."""

import torch

from trs_explorer.explore.compute_lock import PROCESS_LOCK
from trs_explorer.explore.planes import Plane, along_gradient, domain, loss_directions, two_gradients
from trs_explorer.explore.slices import assemble
from trs_explorer.files import Json
from trs_explorer.web.attack_paths import make_attack_paths
from trs_explorer.web.compare.pair import Pair
from trs_explorer.web.page_request import PageRequest
from trs_explorer.web.slice_cache import SliceCache
from trs_explorer.web.slice_picture import slice_pictures
from trs_explorer.web.slice_view import chosen_image, loss_name, make_slice_view
from trs_explorer.web.state import is_plane

LEVEL = 2  # of the nested grids: 97 x 97 points


def common_plane(pair: Pair) -> Plane:
    """Return the plane of both slices, through the image along gradients of the ensembles' losses."""
    x, y, _ = chosen_image(pair.a.loaded, pair.a.state)
    if is_plane(pair.a.loaded.data.name):
        return domain(tuple(x.shape))
    seed, requests = pair.a.state.seed, (pair.a, pair.b)
    names = [loss_name(f"{request.loaded.name}'s ensemble") for request in requests]
    first, second = (loss_directions(request.loaded.ensemble, x[None], torch.tensor([y]))[-1] for request in requests)
    if pair.along == "both":
        return two_gradients(first, second, x, names=(names[0], names[1]), seed=seed)
    gradient, name = (first, names[0]) if pair.along == "a" else (second, names[1])
    return along_gradient(gradient, x, name=name, seed=seed)


def both_slices(pair: Pair, slices: SliceCache) -> Json:
    """Return for each side and model its picture, headline and attack path, and the outlines in the square."""
    with PROCESS_LOCK.hold():
        plane = common_plane(pair)
    sides = {side: _side(request, plane, slices) for side, request in pair.sides.items()}
    return {**sides, "names": list(plane.names), "kind": plane.kind}


def _side(request: PageRequest, plane: Plane, slices: SliceCache) -> Json:
    loaded, state = request.loaded, request.state
    with PROCESS_LOCK.hold():
        view = make_slice_view(loaded, state, plane=plane)
    logits = assemble([slices.samples(view, level) for level in range(LEVEL + 1)])
    with PROCESS_LOCK.hold():
        attacks = make_attack_paths(loaded, state, view)
        pictures = slice_pictures(logits, loaded.ensemble.vote)
    models = [
        {
            "name": name,
            "picture": picture.to_json(),
            "headline": attacks.headline(model),
            "trail": attacks.paths[model].tolist(),
            "fooled": attacks.fools(model, model),
        }
        for model, (name, picture) in enumerate(zip(view.models, pictures, strict=True))
    ]
    about = {"run": loaded.name, "method": loaded.run.config.method, "digest": loaded.digest, "attack": attacks.attack}
    outlines = {"box": view.box.tolist(), "ball": attacks.ball.tolist(), "start": list(attacks.start)}
    return {**about, **outlines, "low": view.low, "high": view.high, "y": view.y, "models": models}
