"""What the catalogue's tables hold: a method, a data set, a model. No torch."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trs_explorer.options import HYPER_PARAMETERS, Option
from trs_explorer.sources import Archive, Installed


@dataclass(frozen=True)
class Method:
    """A defence.

    - function: returns the loss terms of a batch.
    - summary: one line about it.
    - defaults: its hyper-parameters with their defaults.
    - fixed: hyper-parameters that it fixes.
    - recipe: settings that it needs besides.
    - voting: how its members vote, see `Ensemble`.
    - leaky: whether its models have leaky ReLUs.
    - trained_start: whether it starts from a trained run (`--from`).
    - separate_losses: whether each member has a loss of its own weights alone, and "total" is their sum. Then gradients are
      clipped member by member, so that one optimiser does the same as one for each member.
    - whole_batch: whether its terms are not means over examples, so that a batch must not be computed in parts.
    - adversarial: whether it is adversarial training in itself, without the setting of that name.
    - boost: a function that weighs the examples and the votes between members, which are trained one after another.
    - member_check: a function of an ensemble and images that raises ValueError for members which it cannot train.
    - after_step: a function that changes the weights after each step of the optimiser: of the ensemble, images of which it uses
      the shape, those of the hyper-parameters that it names, and `generator`.
    - most_members: the largest number of members, given the number of classes.
    - custom_options: those of its hyper-parameters that are not in `options.HYPER_PARAMETERS`, or differ.
    """

    function: str | Callable[..., Any]
    summary: str
    defaults: Mapping[str, object] = field(default_factory=dict)
    fixed: Mapping[str, object] = field(default_factory=dict)
    recipe: Mapping[str, object] = field(default_factory=dict)
    voting: str = "mean"
    leaky: bool = False
    trained_start: bool = False
    separate_losses: bool = False
    whole_batch: bool = False
    adversarial: bool = False
    boost: str = ""
    member_check: str = ""
    after_step: str = ""
    most_members: Callable[[int], int] | None = None
    custom_options: Mapping[str, Option] = field(default_factory=dict)

    @property
    def options(self) -> dict[str, Option]:
        """Its hyper-parameters, by name."""
        return {name: self.custom_options.get(name) or HYPER_PARAMETERS[name] for name in self.defaults}


def as_hard_in_l2(eps: float, shape: Sequence[int]) -> float:
    """An L2 radius about as hard to withstand as eps in the maximum norm, for images of a shape (our choice).

    It grows with the square root of the number of pixels: 2.1 on MNIST for .3. In the plane it is eps.
    """
    pixels = math.prod(shape)
    return eps if pixels == 2 else float(f"{eps * math.sqrt(pixels) / 4:.2g}")


@dataclass(frozen=True)
class Data:
    """A data set.

    - loader: loads a split.
    - summary: one line about it.
    - shape, classes: the shape of an image, and the number of classes.
    - recipe: settings that suit it.
    - probe_eps: the radius of the training's probe.
    - method_recipes: settings for single methods besides.
    - source: where its files come from. None: they come with trs if it is embedded, else it is computed.
    - sizes: the numbers of training and test examples; 0: unknown.
    - embedded: whether its files come with trs.
    - fingerprint: by split, that of the files that come with trs (`data.dataset.fingerprint`).
    - class_names: of the classes, in the order of their labels; empty: they have none but their numbers.
    - custom: whether it is data of the user, whose files are at the run's `data_dir`.
    """

    loader: str
    summary: str
    shape: tuple[int, int, int]
    classes: int
    recipe: Mapping[str, object] = field(default_factory=dict)
    probe_eps: float = 0.3
    method_recipes: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    source: Installed | Archive | None = None
    sizes: tuple[int, int] = (0, 0)
    embedded: bool = False
    fingerprint: Mapping[str, str] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    custom: bool = False

    @property
    def computed(self) -> bool:
        """Whether it has no files, and so no fingerprint: the last bits of computed points differ between machines."""
        return self.source is None and not self.embedded and not self.custom

    def class_name(self, label: int) -> str:
        """The name of a class, or its number."""
        return self.class_names[label] if self.class_names else str(label)

    def usual_eps(self, norm: str) -> float:
        """A radius to start from: the probe's in the maximum norm; in L2 one about as hard to withstand."""
        return self.probe_eps if norm == "linf" else as_hard_in_l2(self.probe_eps, self.shape)

    @property
    def examples(self) -> str:
        """What its examples are called: "points" if they lie in the plane, else "images"."""
        return "points" if math.prod(self.shape) == 2 else "images"


@dataclass(frozen=True)
class Entry:
    """A model: the function that builds it, and one line about it."""

    function: str | Callable[..., Any]
    summary: str
