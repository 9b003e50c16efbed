"""The slices of both runs through one image: the same plane, the same square, each with the attacks on its own models."""

import torch

from trs_explorer.explore.live import turn
from trs_explorer.explore.planes import Plane, along_gradient, domain, loss_gradients, two_gradients
from trs_explorer.explore.slices import assemble
from trs_explorer.files import Json
from trs_explorer.web.asked import Asked
from trs_explorer.web.compare.pair import Pair
from trs_explorer.web.scene import image_of, loss_of, make_scene
from trs_explorer.web.scenes import Drawn, Scenes
from trs_explorer.web.slice_picture import slice_pictures
from trs_explorer.web.state import is_plane
from trs_explorer.web.walks import make_walks

LEVEL = 2  # of the nested grids: 97 x 97 points


def plane_of(pair: Pair) -> Plane:
    """The plane of both slices, through the image along gradients of the ensembles' losses."""
    x, y, _ = image_of(pair.a.loaded, pair.a.state)
    if is_plane(pair.a.loaded.data.name):
        return domain(tuple(x.shape))
    seed = pair.a.state.seed
    names = [loss_of(f"{asked.loaded.name}'s ensemble") for asked in (pair.a, pair.b)]
    first, second = (loss_gradients(asked.loaded.ensemble, x[None], torch.tensor([y]))[-1] for asked in (pair.a, pair.b))
    if pair.along == "both":
        return two_gradients(first, second, x, names=(names[0], names[1]), seed=seed)
    gradient, name = (first, names[0]) if pair.along == "a" else (second, names[1])
    return along_gradient(gradient, x, name=name, seed=seed)


def both_slices(pair: Pair, scenes: Scenes) -> Json:
    """What the page draws: for each side and model a picture, its headline and the attack's path; and the square's outlines."""
    with turn():
        plane = plane_of(pair)
    told = {side: _side(asked, plane, scenes) for side, asked in pair.sides.items()}
    return {**told, "names": list(plane.names), "kind": plane.kind}


def _side(asked: Asked, plane: Plane, scenes: Scenes) -> Json:
    loaded, state = asked.loaded, asked.state
    with turn():
        scene = make_scene(loaded, state, plane=plane)
    drawn = Drawn(scene, loaded)
    logits = assemble([scenes.samples(drawn, level) for level in range(LEVEL + 1)])
    with turn():
        walks = make_walks(loaded, state, scene)
        pictures = slice_pictures(logits, loaded.ensemble.vote)
    models = [
        {
            "name": name,
            "picture": picture.to_json(),
            "headline": walks.headline(model),
            "trail": walks.trails[model].tolist(),
            "fooled": walks.fools(model, model),
        }
        for model, (name, picture) in enumerate(zip(scene.models, pictures, strict=True))
    ]
    about = {"run": loaded.name, "method": loaded.run.config.method, "digest": loaded.digest, "attack": walks.attack}
    lines = {"box": scene.box.tolist(), "ball": walks.ball.tolist(), "start": list(walks.start)}
    return {**about, **lines, "low": scene.low, "high": scene.high, "y": scene.y, "models": models}
