import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from trs_explorer.explore.planes import (
    Plane,
    along_gradient,
    ball_polygon,
    box_polygon,
    domain,
    fitted_range,
    loss_directions,
    three_images,
    two_gradients,
)
from trs_explorer.models import build
from trs_explorer.models.ensemble import Ensemble

SHAPE = (3, 4, 5)


def rand(seed, shape=SHAPE):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def randn(seed, shape=SHAPE):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def check_frame(plane):
    axes = torch.stack([plane.u.flatten(), plane.v.flatten()]).double()
    assert torch.allclose(axes @ axes.T, torch.eye(2).double(), atol=1e-6)
    assert axes.isfinite().all()


def test_along_gradient_goes_up_the_loss_and_the_seed_decides_the_rest():
    gradient, x = randn(0), rand(1)
    plane = along_gradient(gradient, x, name="the loss of F1", seed=3)
    check_frame(plane)
    assert torch.allclose(plane.u, gradient / gradient.norm(), atol=1e-7)
    assert plane.names == ("gradient of the loss of F1", "random, seed 3, made orthogonal")
    assert plane.kind == "random"
    assert torch.equal(plane.v, along_gradient(gradient, x, name="", seed=3).v)
    assert abs((plane.v * along_gradient(gradient, x, name="", seed=4).v).sum()) < 0.5


def test_images_coordinates_and_distance_are_inverse():
    plane = two_gradients(randn(0), randn(1), rand(2), names=("F1", "F2"))
    check_frame(plane)
    points = 5 * randn(3, (7, 2))
    images = plane.images(points)
    direct = plane.origin + points[:, 0, None, None, None] * plane.u + points[:, 1, None, None, None] * plane.v
    assert torch.allclose(images, direct, atol=1e-6)
    assert images.min() < 0  # not cut
    assert torch.allclose(plane.coordinates(images), points, atol=1e-5)
    assert plane.distance(images).max() < 1e-5
    normal = randn(4) - (randn(4) * plane.u).sum() * plane.u - (randn(4) * plane.v).sum() * plane.v
    away = images + 0.25 * normal / normal.norm()
    assert torch.allclose(plane.coordinates(away), points, atol=1e-5)
    assert torch.allclose(plane.distance(away), torch.full((7,), 0.25), atol=1e-5)
    shifts = (images - plane.origin).flatten(1).norm(dim=-1)
    assert torch.allclose(shifts, points.norm(dim=-1), atol=1e-5)  # coordinates are L2 distances


def test_swapped_axes_show_the_same_plane():
    plane = two_gradients(randn(0), randn(1), rand(2), names=("a", "b"))
    other = plane.swapped()
    points = randn(3, (5, 2))
    assert torch.allclose(plane.images(points), other.images(points.flip(-1)), atol=1e-6)
    assert other.names == plane.names[::-1]


def test_two_gradients_span_the_plane():
    first, second, x = randn(0), randn(1), rand(2)
    plane = two_gradients(first, second, x, names=("F1", "F2"))
    assert plane.distance(torch.stack([x + first, x + second])).max() < 1e-5
    assert plane.coordinates((x + second)[None])[0, 1] > 0
    assert plane.names == ("gradient of F1", "gradient of F2, made orthogonal")


@pytest.mark.parametrize(
    ("first", "second", "axis", "words"),
    [
        (torch.zeros(SHAPE), randn(1), 0, "gradient of A is zero"),
        (randn(1), torch.zeros(SHAPE), 1, "gradient of B is zero"),
        (torch.full(SHAPE, torch.nan), randn(1), 0, "gradient of A is not finite"),
        (randn(1), torch.full(SHAPE, torch.inf), 1, "gradient of B is not finite"),
        (randn(1), -3 * randn(1), 1, "gradient of B is parallel"),
        (randn(1), randn(1) + 1e-8 * randn(2), 1, "gradient of B is parallel"),
    ],
)
def test_a_missing_direction_is_replaced_and_named(first, second, axis, words):
    plane = two_gradients(first, second, rand(0), names=("A", "B"), seed=7)
    check_frame(plane)
    assert words in plane.names[axis]
    assert "random, seed 7" in plane.names[axis]
    assert "random" not in plane.names[1 - axis]
    if axis == 0:
        single = along_gradient(first, rand(0), name="A", seed=7)
        check_frame(single)
        assert words in single.names[0]


def test_both_gradients_missing_and_the_tiniest_ones_kept():
    check_frame(two_gradients(torch.zeros(SHAPE), torch.zeros(SHAPE), rand(0), names=("A", "B")))
    plane = along_gradient(1e-38 * randn(1), rand(0), name="A", seed=0)
    check_frame(plane)
    assert torch.allclose(plane.u, randn(1) / randn(1).norm(), atol=1e-3)
    assert "nearly flat here (length " in plane.names[0]


def test_three_images_lie_in_their_plane():
    a, b, c = rand(0), rand(1), rand(2)
    plane = three_images(a, b, c)
    check_frame(plane)
    points = plane.coordinates(torch.stack([a, b, c])).double()
    ab, ac, bc = (b - a).norm(), (c - a).norm(), (c - b).norm()
    assert plane.distance(torch.stack([a, b, c])).max() < 1e-6
    assert points[0].abs().max() == 0
    assert points[1].tolist() == pytest.approx([ab.item(), 0], abs=1e-6)
    assert points[2, 1] > 0
    assert points[2].norm().item() == pytest.approx(ac.item(), abs=1e-6)
    assert (points[2] - points[1]).norm().item() == pytest.approx(bc.item(), abs=1e-6)
    ab, ac, bc = (f"{value.item():.3g}" for value in (ab, ac, bc))
    assert len({ab, ac, bc}) == 3
    up = f"to image 3, {ac} from image 1 and {bc} from image 2, made orthogonal"
    assert plane.names == (f"from image 1 to image 2, {ab} away", up)


def test_coinciding_images_still_give_a_plane():
    a, b = rand(0), rand(1)
    same = three_images(a, a, a)
    check_frame(same)
    assert "coincide" in same.names[0]
    line = three_images(a, b, (a + b) / 2)
    check_frame(line)
    assert "lies on the other axis" in line.names[1]
    half = three_images(a, a, b)
    check_frame(half)
    assert half.distance(b[None]).item() < 1e-5


def test_the_domain_is_the_inputs_themselves():
    plane = domain((1, 1, 2))
    x = rand(0, (6, 1, 1, 2))
    assert torch.equal(plane.coordinates(x), x.flatten(1))
    assert torch.equal(plane.images(x.flatten(1)), x)
    with pytest.raises(ValueError, match="two numbers"):
        domain((1, 28, 28))
    with pytest.raises(ValueError, match="at least two numbers"):
        along_gradient(torch.ones(1, 1, 1), torch.ones(1, 1, 1), name="", seed=0)


@given(st.integers(0, 10_000))
def test_random_axes_in_two_dimensions_are_orthogonal(seed):
    check_frame(along_gradient(randn(seed + 1, (1, 1, 2)), rand(0, (1, 1, 2)), name="", seed=seed))


@pytest.mark.parametrize(("model", "data", "shape"), [("mlp", "bars", (1, 1, 1, 2)), ("patch", "mnist", (1, 1, 28, 28))])
def test_loss_directions_are_those_of_members_and_ensemble(model, data, shape):
    """Parallel to the cross-entropy's gradients in float64, and as long as those divided by 1 - p."""
    ensemble = build(model, data, 3, seed=0).requires_grad_(False)
    x, y = rand(0, shape), torch.tensor([1])
    with torch.inference_mode():
        found = loss_directions(ensemble, x, y)
    assert all(module.training for module in ensemble.modules())
    direct = []
    for network in (*ensemble.members, ensemble):
        network.double()
        point = x.double().requires_grad_()
        loss = F.cross_entropy(network(point), y)
        loss.backward()
        direct.append(point.grad[0] / (1 - (-loss).exp()))
    direct = torch.stack(direct)
    assert found.shape == direct.shape
    assert torch.allclose(found.double(), direct, rtol=1e-4, atol=1e-5 * direct.abs().max().item())
    assert found.abs().sum() > 0


def test_a_confident_model_has_directions_too():
    """Logits x 1000: the cross-entropy's gradient is 0 in float32, and the direction is that of the model as it was."""
    ensemble = build("patch", "mnist", 2, seed=0)
    x = rand(0, (1, 1, 28, 28))
    y = ensemble.members[0](x).argmax(-1)
    before = loss_directions(Ensemble([ensemble.members[0]]), x, y)
    last = [module for module in ensemble.members[0].modules() if isinstance(module, torch.nn.Linear)][-1]
    with torch.no_grad():
        last.weight *= 1000
        last.bias *= 1000
    sure = Ensemble([ensemble.members[0]])
    point = x.clone().requires_grad_()
    F.cross_entropy(sure(point), y).backward()
    assert point.grad.norm() < 1e-6  # rounding
    after = loss_directions(sure, x, y)
    assert after.flatten(1).norm(dim=-1).min() > 1
    # the likeliest other class alone counts when logits are large: the margin's gradient
    point = x.clone().requires_grad_()
    logits = sure(point)[0]
    (margin,) = torch.autograd.grad(logits.topk(2).values[1] - logits[y[0]], point)
    assert F.cosine_similarity(after.flatten(1), margin.flatten(1)).min() > 0.999
    assert F.cosine_similarity(before[:1].flatten(1), margin.flatten(1)) > 0


@given(st.integers(0, 10_000), st.floats(0, 0.4))
def test_the_fitted_range_holds_three_images_with_a_margin_and_no_more(seed, margin):
    a, b, c = (rand(seed + i) for i in range(3))
    points = three_images(a, b, c).coordinates(torch.stack([a, b, c]))
    low, high = fitted_range(points, margin=margin)
    room = margin * (high - low)
    assert points.min().item() - low == pytest.approx(room, abs=1e-5)
    assert high - points.max().item() == pytest.approx(room, abs=1e-5)


def test_the_range_of_points_that_coincide_has_a_size():
    low, high = fitted_range(torch.full((3, 2), 2.0))
    assert (low, high) == (1.5, 2.5)


def inside(corners, points):
    """Whether points lie inside a counter-clockwise polygon, by the sign of every edge's cross product."""
    if len(corners) < 3:
        return np.zeros(len(points), dtype=bool)
    edges = np.roll(corners, -1, 0) - corners
    to = points[:, None] - corners[None]
    return (edges[None, :, 0] * to[..., 1] - edges[None, :, 1] * to[..., 0] >= 0).all(-1)


def grid(reach, n=81, middle=(0.0, 0.0)):
    side = np.linspace(-reach, reach, n) + 1e-5  # off the corners that are known exactly
    return np.stack(np.meshgrid(side, side), -1).reshape(-1, 2) + middle


def pictures(plane, points):
    flat = [part.flatten().double().numpy() for part in (plane.origin, plane.u, plane.v)]
    return flat[0] + points[:, :1] * flat[1] + points[:, 1:] * flat[2]


PLANES = {
    "random": lambda s: along_gradient(randn(s), rand(s + 1), name="", seed=s),
    "gradients": lambda s: two_gradients(randn(s), randn(s + 1), rand(s + 2), names=("", "")),
    "black pixels": lambda s: three_images(*(rand(s + i).mul(2).sub(0.7).clamp(0, 1) for i in range(3))),
    "equal steps": lambda s: two_gradients(randn(s).sign(), randn(s + 1).sign(), rand(s + 2), names=("", "")),
    "domain": lambda s: domain((1, 1, 2)),
}


@pytest.mark.parametrize("kind", PLANES)
@pytest.mark.parametrize("seed", range(4))
def test_the_box_agrees_with_brute_force(kind, seed):
    plane = PLANES[kind](seed)
    corners = box_polygon(plane, 3.0)
    counts = []
    for points in (grid(2.99), grid(0.4), grid(4.0)):
        image = pictures(plane, points)
        expected = ((image >= 0) & (image <= 1)).all(-1) & (np.abs(points) <= 3).all(-1)
        assert (inside(corners, points) == expected).all()
        counts.append(expected.sum())
    assert counts[1] > 20
    assert np.abs(corners).max() <= 3


@pytest.mark.parametrize("kind", PLANES)
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("off", [0.0, 0.04])
def test_balls_agree_with_brute_force(kind, norm, off):
    plane = PLANES[kind](5)
    centre = plane.images(torch.tensor([[0.3, -0.2]]))[0] + off * rand(9, plane.origin.shape)
    eps = 0.1 if norm == "linf" else 0.6
    corners = ball_polygon(plane, centre, eps, norm)
    points = grid(1.2, middle=plane.coordinates(centre[None])[0].double().numpy())
    shift = pictures(plane, points) - centre.flatten().double().numpy()
    size = np.abs(shift).max(-1) if norm == "linf" else np.linalg.norm(shift, axis=-1)
    sure = np.abs(size - eps) > (0 if norm == "linf" else 5e-4)  # a 128-gon is not quite its circle
    assert (inside(corners, points) == (size <= eps))[sure].all()
    assert (size <= eps).sum() > 20


def test_closed_forms_in_the_domain():
    plane = domain((1, 1, 2))
    assert sorted(map(tuple, box_polygon(plane, 5.0).round(9).tolist())) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert sorted(map(tuple, box_polygon(plane, 0.5).round(9).tolist())) == [(0, 0), (0, 0.5), (0.5, 0), (0.5, 0.5)]
    centre = torch.tensor([0.25, 0.5]).view(1, 1, 2)
    square = sorted(map(tuple, ball_polygon(plane, centre, 0.125, "linf").round(9).tolist()))
    assert square == [(0.125, 0.375), (0.125, 0.625), (0.375, 0.375), (0.375, 0.625)]
    circle = ball_polygon(plane, centre, 0.125, "l2")
    assert circle.shape == (128, 2)
    assert np.linalg.norm(circle - [0.25, 0.5], axis=-1) == pytest.approx(0.125)
    assert area(circle) == pytest.approx(math.pi / 64, rel=1e-3)
    assert area(box_polygon(plane, 5.0)) == pytest.approx(1)  # positive: counter-clockwise


def area(corners):
    x, y = corners.T
    return (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2


def test_a_ball_off_the_plane_shrinks_and_goes():
    plane = Plane(torch.zeros(1, 1, 3), *torch.eye(3)[:2].view(2, 1, 1, 3), ("", ""), "gradients")
    centre = torch.tensor([0.5, 0.25, 0.25]).view(1, 1, 3)
    circle = ball_polygon(plane, centre, 0.5, "l2")
    assert np.linalg.norm(circle - [0.5, 0.25], axis=-1) == pytest.approx(math.sqrt(0.25 - 0.0625))
    assert ball_polygon(plane, centre, 0.24, "l2").shape == (0, 2)
    assert ball_polygon(plane, centre, 0.24, "linf").shape == (0, 2)
    assert area(ball_polygon(plane, centre, 0.26, "linf")) == pytest.approx(0.52**2)
    assert box_polygon(Plane(centre + 1, plane.u, plane.v, ("", ""), "images"), 3.0).shape == (0, 2)
    for eps, norm, words in ((0.1, "l1", "norm"), (-0.1, "l2", "eps"), (math.nan, "linf", "eps")):
        with pytest.raises(ValueError, match=words):
            ball_polygon(plane, centre, eps, norm)


def test_an_image_with_black_pixels_is_alone_in_a_random_plane():
    x = rand(0, (1, 28, 28)).sub(0.8).clamp_min(0)
    corners = box_polygon(along_gradient(randn(0, x.shape), x, name="", seed=0), 3.0)
    assert 1 <= len(corners) <= 2
    assert np.abs(corners).max() < 1e-9
    assert ball_polygon(domain((1, 1, 2)), torch.zeros(1, 1, 2), 0.0, "linf").shape == (1, 2)


def test_many_corners_are_found_all():
    """Pixels whose axes go round the circle: every one is an edge, and the distance to each is .5."""
    angle = torch.arange(64).double() * math.pi / 64
    u, v = angle.cos().view(1, 1, -1), angle.sin().view(1, 1, -1)
    plane = two_gradients(u, v, torch.full((1, 1, 64), 0.5).double(), names=("", ""))
    corners = box_polygon(plane, 100.0)
    assert len(corners) == 128
    radius = 0.5 * math.sqrt(32) / math.cos(math.pi / 128)  # the axes have length sqrt(32) before they are normalised
    assert np.linalg.norm(corners, axis=-1) == pytest.approx(radius)


def test_polygons_of_large_images_are_closed():
    x = rand(0, (3, 32, 32))
    plane = along_gradient(randn(0, x.shape), x, name="", seed=0)
    assert len(box_polygon(plane, 3.0)) >= 3
    assert len(ball_polygon(plane, x, 0.03, "linf")) >= 3
