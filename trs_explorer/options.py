"""Hyper-parameters, each declared once with its range and help text. No torch: `trs --help` imports this module.

Command-line flags, the checks of config files and the web forms are made from these declarations.
"""

import contextlib
import math
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from fractions import Fraction
from typing import Any


class UsageError(ValueError):
    """A request of the user that cannot be carried out. The message names the wrong value and the remedy."""


@dataclass(frozen=True)
class Option:
    """A named value that a user may set.

    - low, high: the range, inclusive; with above_low the value must be greater than low.
    - choices: the allowed texts; empty: any.
    - spelling: of the flag, where it is not the name.
    """

    name: str
    type: type
    help: str
    low: int | float | None = None
    high: int | float | None = None
    above_low: bool = False
    choices: tuple[str, ...] = ()
    spelling: str = ""

    @property
    def flag(self) -> str:
        """The command-line flag: --lambda-a for lambda_a, unless it has a spelling of its own."""
        return self.spelling or "--" + self.name.replace("_", "-")

    @property
    def range_text(self) -> str:
        """The allowed values as text; empty if every value of the type is allowed."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        low = "" if self.low is None else f"{'>' if self.above_low else '>='} {_short(self.low)}"
        high = "" if self.high is None else f"<= {_short(self.high)}"
        return " and ".join(part for part in (low, high) if part)

    def parse(self, value: object) -> Any:
        """Check a value as a user has written it: a number may be the text of a fraction, "8/255". Raises as `check`."""
        is_fraction = self.type is float and isinstance(value, str) and "/" in value
        return self.check(parse_number(str(value), self.flag) if is_fraction else value)

    def check(self, value: object) -> Any:
        """The value as this option's type. Raises UsageError if it has another type or is out of range."""
        if self.type is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value) if abs(value) < 1e300 else math.inf  # a large int may exceed all floats
        expected = {float: "a number", int: "a whole number", str: "text", bool: "true or false"}[self.type]
        if not isinstance(value, self.type) or (isinstance(value, bool) and self.type is not bool):
            raise UsageError(f"{self.flag} takes {expected}, got {_shortened(value)}")
        if isinstance(value, str) and "\0" in value:
            raise UsageError(f"{self.flag} takes text without a zero byte, got {_shortened(value)}")
        if self.choices and value not in self.choices:
            raise UsageError(unknown(self.flag, str(value), self.choices))
        if isinstance(value, int | float) and not isinstance(value, bool):
            too_low = self.low is not None and (value <= self.low if self.above_low else value < self.low)
            infinite = isinstance(value, float) and not math.isfinite(value)
            if infinite or too_low or (self.high is not None and value > self.high):
                raise UsageError(f"{self.flag} must be {self.range_text or 'finite'}, got {_short(value)}")
        return value


def parse_number(text: str, flag: str) -> float:
    """Parse a number or a fraction, as `number`. Raises UsageError that names the flag."""
    try:
        return number(text)
    except (ValueError, OverflowError):
        raise UsageError(f"{flag} takes numbers such as 0.03 or 8/255, got {_shortened(text)}") from None


def number(text: str) -> float:
    """Parse a number such as 0.03, or a fraction of two numbers such as 8/255. Raises: ValueError for anything else."""
    top, slash, bottom = text.partition("/")
    if not slash:
        return float(text)
    if "/" in bottom or len(text) > 60 or "e" in text.lower():  # 1/1e-999999999 would fill the memory
        raise ValueError(f"not a fraction of two plain numbers: {text!r}")
    try:
        return float(Fraction(top.strip()) / Fraction(bottom.strip()))
    except ZeroDivisionError:
        raise ValueError(f"a fraction with denominator 0: {text!r}") from None


def _short(number: int | float) -> str:
    with contextlib.suppress(ValueError):  # Python does not write out a whole number of 5,000 digits
        text = str(number)
        return text if len(text) <= 30 else f"{text[:20]}... ({len(text)} characters)"
    return "a number with thousands of digits"


def _shortened(value: object) -> str:
    """A short repr of a value: a file may hold 1 MB of text in its place, or deeply nested lists."""
    with contextlib.suppress(ValueError):
        return _REPR.repr(value)
    return "a number with thousands of digits"


_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 120


def unknown(
    what: str, value: str, choices: Mapping[str, object] | tuple[str, ...], *, listed: tuple[str, ...] | None = None
) -> str:
    """The message for an unknown name: the available names, and the most similar one.

    listed: the names to list, where not all of them are of use.
    """
    near = get_close_matches(value[:120], list(choices), n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"{what}: there is no {_shortened(value)}.{hint} Choose from {', '.join(choices if listed is None else listed)}"


def setting(default: object, text: str, **limits: object) -> Any:
    """A dataclass field that declares an Option, whose name and type are the field's."""
    return field(default=default, metadata={"help": text, **limits})


HYPER_PARAMETERS = {
    option.name: option
    for option in (
        Option("lambda_a", float, "weight of the mean |cos| of the members' input gradients (paper, section 3.2)", low=0),
        Option("lambda_b", float, "weight of the smoothness term, Eq. (1)", low=0),
        Option("delta", float, "radius of Eq. (1) at the end of training, in [0, 1] pixels; 0 gives Cos-l2", low=0, high=1),
        Option("delta_start", float, "radius at the start; it grows linearly to --delta", low=0, high=1),
        Option("inner_steps", int, "sign steps of 2 delta / steps in the search for Eq. (1)'s support point", low=1, high=100),
        Option(
            "inner_order",
            str,
            "what the search for the support point ascends. first: the members' losses; weighted: the losses, with weights that "
            "favour large gradient norms, at the same cost; second: the gradient norms, Eq. (1) as published, at twice the cost",
            choices=("first", "weighted", "second"),
        ),
        Option(
            "smoothness",
            str,
            "what is penalised: the gradient's norm, its square, or the gradient's change (beta, for the plane)",
            choices=("norm", "squared-norm", "beta"),
        ),
        Option("support_fraction", float, "share of a batch that moves to its support point", low=0, high=1, above_low=True),
        Option("lambda_entropy", float, "weight of the entropy of the members' mean prediction (ADP, iGAT)", low=0),
        Option("lambda_logdet", float, "weight of the log-volume of the members' non-true predictions (ADP, iGAT)", low=0),
        Option("lambda_global", float, "weight of the drawn member's loss on images that fool the ensemble (iGAT)", low=0),
        Option("lambda_wrong", float, "weight of each member's highest probability of a wrong class there (iGAT)", low=0),
        Option("lambda_gal", float, "weight of the log-sum-exp of the gradients' cosines", low=0),
        Option("noise", float, "standard deviation of the noise on training images, in [0, 1] pixels", low=0, high=1),
        Option("noise_share", float, "share of the training images that get noise", low=0, high=1),
        Option("distill_eps", float, "largest distance of a distilled image from its source, in [0, 1] pixels", low=0, high=1),
        Option("distill_steps", int, "sign steps of distill_eps / steps with momentum in the distillation", low=1, high=100),
        Option("lambda_intra", float, "weight of the divergence of a member's answers to an image and its moved copy", low=0),
        Option("lambda_inter", float, "weight, as a reward, of the divergence of different members' answers", low=0),
        Option("lambda_cka", float, "weight of the mean linear CKA of the members' last features", low=0),
        Option("lambda_parl", float, "weight of the mean cosine of the members' layer gradients (PARL)", low=0),
        Option("parl_layers", int, "layers that count, the first ones, but never the last (PARL)", low=1, high=100),
        Option("lambda_lotos", float, "weight of what a layer makes of other members' top singular vectors", low=0),
        Option("mal", float, "length to which it may stretch them at no cost, as a share of --spectral-clip", low=0, high=1),
        Option("spectral_clip", float, "largest spectral norm of every convolution and linear layer", low=0, above_low=True),
        Option("top_k", int, "singular vectors of each layer that other members must not stretch", low=1, high=100),
        Option("power_steps", int, "steps of the iteration that finds singular vectors, anew in each step", low=1, high=100),
        Option("lambda_confidence", float, "weight of the loss by which members learn how likely they are right (SoE)", low=0),
        Option("soe_sigma", float, "smoothness of the minimum of the members' losses (SoE)", low=0, above_low=True),
        Option("soe_eps", float, "radius of the adversarial images of each step (SoE), in [0, 1] pixels", low=0, high=1),
        Option("soe_steps", int, "PGD steps of these images, each of size 2.5 * soe-eps / soe-steps", low=1, high=100),
    )
}

# Options of measurements, besides the attacks. No test set has a million images.
MEASURING = {
    option.name: option
    for option in (
        Option("seed", int, "Seed of the attack's random starts.", low=0, high=2**31 - 1),
        Option("limit", int, "Use the first N test images.", low=1, high=1_000_000),
    )
}
