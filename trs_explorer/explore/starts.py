"""Where the attacks of a slice start: at its image, or at the valid image nearest to a requested point of the plane."""

from dataclasses import dataclass, replace

import torch

from trs_explorer.explore.planes import Image, OneImage, Plane, Polygon, ball_polygon

CLIPPED = 1e-4  # a pixel that is clipped by less is not worth a word


@dataclass(frozen=True, eq=False)
class Start:
    """Where attacks start. Distances are L2, in [0, 1] pixels.

    plane: the plane of the slice.
    image: the image at which the attacks really start; all of its pixels are in [0, 1].
    point: its coordinates in the plane; of the nearest point, if it lies off the plane.
    requested: the point that was asked for; None for the slice's own image.
    clipped: whether pixels of the image there left [0, 1] and were clipped: `point` is then another one, and the image lies off
        the plane.
    off_plane: how far the image is from the plane.
    """

    plane: Plane
    image: OneImage
    point: tuple[float, float]
    requested: tuple[float, float] | None
    clipped: bool
    off_plane: float

    def ball(self, eps: float, norm: str) -> Polygon:
        """Return the eps-ball around the start, drawn around `point`: its section with the parallel plane through the start."""
        if not self.clipped:
            return ball_polygon(self.plane, self.image[0], eps, norm)
        a, b = self.point
        origin = self.image[0].double() - a * self.plane.u.double() - b * self.plane.v.double()
        return ball_polygon(replace(self.plane, origin=origin), self.image[0], eps, norm)

    def sentence(self) -> str:
        """Say where the attacks really start if that is not where they were asked to; else nothing."""
        if not self.clipped or self.requested is None:
            return ""
        asked, real = (f"({a:.2f}, {b:.2f})" for a, b in (self.requested, self.point))
        return (
            f"No valid image lies at {asked}: its pixels leave [0, 1]. The attacks start at the nearest valid one, at {real} and "
            f"{self.off_plane:.2g} off the plane."
        )


def start_at(plane: Plane, point: tuple[float, float]) -> Start:
    """Return the start at a point of the plane, or at the valid image nearest to it in L2: its pixels clipped to [0, 1]."""
    wanted = plane.images(torch.tensor([point]))
    image = wanted.clamp(0, 1)
    clipped = not torch.allclose(image, wanted, rtol=0, atol=CLIPPED)
    return Start(plane, image, plane.pair(image[0]), point, clipped, plane.distance(image).item())


def start_of(plane: Plane, x: Image) -> Start:
    """Return the start at the slice's own image."""
    return Start(plane, x[None], plane.pair(x), None, False, plane.distance(x[None]).item())
