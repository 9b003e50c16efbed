"""A part of a batch for which memory is not enough, computed in smaller parts, one after the other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from trs_explorer.defences.terms import GRAD_NORM
from trs_explorer.memory import is_out_of_memory

MOST_PARTS = 1 << 16  # of a batch: smaller parts get numbers of their own, and with them random numbers
Loss = Callable[[int, range], dict[str, Tensor]]
Computed = tuple[dict[str, Tensor], tuple[Tensor, ...]]


class TooLarge(RuntimeError):
    """Memory is not enough for the smallest part of a batch."""


@dataclass
class SmallerParts:
    """In how many smaller parts the parts of a batch are computed, one after the other: twice as many whenever memory runs out.

    divisible: whether the loss of a batch is the mean over its parts: not with batch norm, nor for methods that compare images.
    number: of smaller parts of each part. It stays what it is for the next steps.
    notes: for the log, see `take_notes`.
    """

    divisible: bool
    number: int = 1
    notes: list[str] = field(default_factory=list)

    def run(self, loss: Loss, part: int, places: range, parameters: Sequence[Tensor], put_back: Callable[[], object]) -> Computed:
        """The loss terms of a part, detached, and the gradients of "total", in as many smaller parts as memory needs.

        The loss is a mean over images. So the means over smaller parts, weighted by their sizes, are the same loss and gradients.

        loss, part, places, parameters: as for `parallel.terms_and_gradients`.
        put_back: is called after memory ran out, to undo what the loss has changed.
        Raises: TooLarge if memory is not enough for one image, or the part cannot be divided.
        """
        while True:
            number = min(self.number, len(places))
            try:
                return _in_turn(loss, part, places, parameters, number)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            # only here, where the error and with it the tensors of its frames are gone, their memory is free
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            put_back()
            if not self.divisible or number == len(places):
                raise TooLarge(f"memory is not enough for {_images(len(places) // number)} at once")
            self.number = max(self.number, min(2 * number, len(places)))
            size = -(-len(places) // self.number)
            self.notes.append(f"memory is not enough for {_images(len(places))} at once: from here on {size} at a time")

    def take_notes(self) -> list[str]:
        """What has happened since the last call, for the log."""
        notes, self.notes = self.notes, []
        return notes


def _images(number: int) -> str:
    return f"{number} image{'s' * (number != 1)}"


def _in_turn(loss: Loss, part: int, places: range, parameters: Sequence[Tensor], number: int) -> Computed:
    terms: dict[str, Tensor] = {}
    gradients: list[Tensor] = []
    for k in range(number):
        chunk = places[k * len(places) // number : (k + 1) * len(places) // number]
        some = loss(part + k * MOST_PARTS, chunk)
        of_chunk = torch.autograd.grad(some["total"], parameters)
        some = {name: value.detach() for name, value in some.items()}
        if number == 1:
            return some, of_chunk
        share = len(chunk) / len(places)
        for name, value in some.items():
            if name == GRAD_NORM:
                terms[name] = torch.maximum(terms.get(name, value), value)
            else:
                terms[name] = terms.get(name, 0) + share * value
        gradients = [share * one for one in of_chunk] if k == 0 else gradients
        if k:
            torch._foreach_add_(gradients, list(of_chunk), alpha=share)
    return terms, tuple(gradients)
