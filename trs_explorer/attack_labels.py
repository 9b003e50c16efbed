"""The labels of attacks in results: "pgd-margin-50 x5" and back. No torch here."""

import re
from dataclasses import dataclass, replace

from trs_explorer.attack_catalogue import ATTACKS, LOSSES, Attack


@dataclass(frozen=True)
class Label:
    """What the label of a stored rate says of its attack: "pgd-margin-50 x5" is PGD on the margin, 50 steps, 5 starts.

    loss: empty for the attack's usual one. steps: None where the label names none.
    """

    attack: str
    loss: str = ""
    steps: int | None = None
    restarts: int = 1

    def __str__(self) -> str:
        parts = [self.attack, self.loss, "" if self.steps is None else str(self.steps)]
        return "-".join(part for part in parts if part) + (f" x{self.restarts}" if self.restarts > 1 else "")

    @property
    def entry(self) -> Attack:
        """The attack's entry, with the label's loss. One that is not in the catalogue counts as iterated, on cross-entropy."""
        base = ATTACKS.get(self.attack, Attack("", "", ()))
        return replace(base, loss=self.loss) if self.loss else base


_LABEL = re.compile(
    rf"(?P<attack>{'|'.join(sorted(map(re.escape, ATTACKS), key=len, reverse=True))}|.+?)"
    rf"(?:-(?P<loss>{'|'.join(LOSSES)}))?(?:-(?P<steps>[0-9]{{1,9}}))?(?: x(?P<restarts>[0-9]{{1,9}}))?"
)


def parse_label(text: str) -> Label:
    """The parts of a stored rate's label. A text that names no attack is its own attack: "clean", "worst of 8"."""
    match = _LABEL.fullmatch(text)
    if match is None:
        return Label(text)
    steps, restarts = match["steps"], match["restarts"]
    return Label(match["attack"], match["loss"] or "", None if steps is None else int(steps), int(restarts or 1))
