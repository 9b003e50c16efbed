"""One parser of each kind of event in a run's log, for every view. A missing or damaged field becomes None; nothing raises.

A log may be damaged or come from a stranger: any JSON value may be in any field.

The log and this module name |cos| of the members' input gradients differently. Bare "cosine" is of the loss in the log, and of
the log-odds here, where it is the one that views show first:

    event                 field in the log     attributes (matrix, its mean)       gradients of
    probe                 log_odds_cosine      Probe.cosines, .cosine              the log-odds
    probe                 cosine               Probe.loss_cosines, .loss_cosine    the loss: cross-entropy
    step                  cosine               Step.cosines                        the loss, on the training batch
"""

from dataclasses import dataclass

from trs_explorer.files import Json
from trs_explorer.matrices import Matrix, mean, off_diagonal, parse_matrix
from trs_explorer.values import number, text, whole

PROBE = "matrix"  # the kind of a probe's event: its name in the logs of all versions, so that old ones can be read
LONGEST_ATTACK = 40  # characters of an attack's name
ROUNDING = 0.005  # two mean |cos| that differ by less are shown as one number


@dataclass(frozen=True)
class Start:
    """A training begins, or continues from a checkpoint. steps and epochs: of the whole training."""

    step: int | None
    steps: int | None
    epoch: int | None
    epochs: int | None
    device: str | None
    threads: int | None
    bfloat16: bool
    resumed: bool


@dataclass(frozen=True)
class Step:
    """Diagnostics of one training batch.

    terms: the method's weighted loss terms by name, "total" is their sum; None where one is not finite.
    cosines: |cos| between the members' input gradients of the loss, [member, member].
    options: the weights of the loss as they are now.
    lr: the learning rate.  rate: steps per second.  nonfinite: names of the fields that were not finite.
    """

    step: int | None
    epoch: int | None
    member: int | None
    terms: dict[str, float | None]
    cosines: Matrix | None
    grad_norm: float | None
    delta: float | None
    lr: float | None
    options: dict[str, float]
    rate: float | None
    nonfinite: list[str]


@dataclass(frozen=True)
class Probe:
    """One measurement on n held-out images, the event of kind PROBE. Logs of older versions lack the log-odds and `interval`.

    rates: [surrogate, target], fooled / eligible; None where no image was eligible.
    fooled, eligible: sums over the ordered pairs of different members (None without matrices).  pairs: how many those are.
    transfer: fooled / eligible.  least: the smallest number of eligible images among the pairs.
    interval: 95 % interval of `transfer`, in which an image counts once.
    cosines: |cos| of the gradients of the log-odds, [member, member].  cosine: their mean over pairs.
    loss_cosines, loss_cosine: the same of the cross-entropy's gradients, where a vanishing one counts as |cos| 0.
    grad_norm: the largest norm of a gradient of the cross-entropy.  zero_gradients: per member, the share that vanishes.
    clean, fgsm, pgd: images of n that the ensemble classifies correctly.  member_clean: the same per member, without attack.
    """

    step: int
    epoch: int | None
    n: int | None
    eps: float | None
    attack: str
    rates: Matrix | None
    fooled: int | None
    eligible: int | None
    pairs: int
    transfer: float | None
    least: int | None
    interval: tuple[float, float] | None
    cosine: float | None
    cosines: Matrix | None
    loss_cosine: float | None
    loss_cosines: Matrix | None
    grad_norm: float | None
    zero_gradients: list[float | None]
    clean: int | None
    fgsm: int | None
    pgd: int | None
    member_clean: list[int | None]

    @property
    def differs(self) -> bool:
        """Whether the cross-entropy's mean |cos| differs from the log-odds' by more than rounding; False if one is unknown."""
        if self.cosine is None or self.loss_cosine is None:
            return False
        return abs(self.cosine - self.loss_cosine) > ROUNDING

    def share(self, name: str) -> float | None:
        """The count of that name as a share of n."""
        count = getattr(self, name)
        return number(count / self.n) if count is not None and self.n else None


@dataclass(frozen=True)
class Epoch:
    """An epoch is over. seconds: how long it took."""

    step: int | None
    epoch: int | None
    seconds: float | None


@dataclass(frozen=True)
class SavedCheckpoint:
    """A checkpoint was saved."""

    step: int | None
    name: str | None


@dataclass(frozen=True)
class Control:
    """The trainer's echo of a viewer's request. request: the whole of it on a line.  error: why it was refused."""

    step: int | None
    action: str
    name: str | None
    value: float | None
    request: str
    error: str | None


@dataclass(frozen=True)
class Note:
    """A line of text by the user or the trainer."""

    step: int | None
    text: str


@dataclass(frozen=True)
class Stopped:
    """A training ended. state: finished, stopped or failed.  error: why it failed."""

    step: int | None
    state: str
    error: str | None


def parse_start(event: Json) -> Start:
    """Parse an event of kind "start"."""
    return Start(
        step=event_step(event),
        steps=whole(event.get("steps")),
        epoch=whole(event.get("epoch")),
        epochs=whole(event.get("epochs")),
        device=_optional_text(event, "device"),
        threads=whole(event.get("threads")),
        bfloat16=bool(event.get("bfloat16")),
        resumed=bool(event.get("resumed")),
    )


def parse_step(event: Json) -> Step:
    """Parse an event of kind "step"."""
    terms, options = event.get("terms"), event.get("options")
    values = {name: number(value) for name, value in options.items()} if isinstance(options, dict) else {}
    return Step(
        step=event_step(event),
        epoch=whole(event.get("epoch")),
        member=whole(event.get("member")),
        terms={name: number(value) for name, value in terms.items()} if isinstance(terms, dict) else {},
        cosines=parse_matrix(event.get("cosine")),
        grad_norm=number(event.get("grad_norm")),
        delta=number(event.get("delta")),
        lr=number(event.get("lr")),
        options={name: value for name, value in values.items() if value is not None},
        rate=number(event.get("rate")),
        nonfinite=parse_nonfinite(event),
    )


def parse_probe(event: Json, step: int = 0) -> Probe:
    """Parse an event of kind PROBE. step: where the training was, for an event that does not say."""
    stated_step = event_step(event)
    fooled, eligible = parse_matrix(event.get("fooled")), parse_matrix(event.get("eligible"))
    rates, counts = None, None
    if fooled and eligible and len(fooled) == len(eligible):
        rates = [
            [number(f / e) if f is not None and e else None for f, e in zip(*rows, strict=True)]
            for rows in zip(fooled, eligible, strict=True)
        ]
        cells = [(f, eligible[i][j]) for i, row in enumerate(fooled) for j, f in enumerate(row) if i != j]
        counts = [(f, e) for f, e in cells if f is not None and e]
    fooled_sum, eligible_sum = (sum(pair[k] for pair in counts or ()) for k in (0, 1))
    least = int(max(0.0, min((e for _, e in counts or ()), default=0.0))) or None
    cosines, loss_cosines = parse_matrix(event.get("log_odds_cosine")), parse_matrix(event.get("cosine"))
    norms, zeros, members = event.get("grad_norm"), event.get("zero_gradients"), event.get("member_clean")
    finite_norms = [norm for norm in map(number, norms if isinstance(norms, list) else [norms]) if norm is not None]
    return Probe(
        step=step if stated_step is None else stated_step,
        epoch=whole(event.get("epoch")),
        n=whole(event.get("n")),
        eps=number(event.get("eps")),
        attack=text(event.get("attack", "?"), LONGEST_ATTACK),
        rates=rates,
        fooled=None if counts is None else whole(fooled_sum),
        eligible=None if counts is None else whole(eligible_sum),
        pairs=len(rates) * (len(rates) - 1) if rates else 0,
        transfer=number(fooled_sum / eligible_sum) if eligible_sum else None,
        least=least,
        interval=_parse_interval(event.get("transfer_interval")),
        cosine=mean(off_diagonal(cosines)) if cosines else None,
        cosines=cosines,
        loss_cosine=mean(off_diagonal(loss_cosines)) if loss_cosines else None,
        loss_cosines=loss_cosines,
        grad_norm=max(finite_norms, default=None),
        zero_gradients=[number(share) for share in zeros] if isinstance(zeros, list) else [],
        clean=whole(event.get("clean")),
        fgsm=whole(event.get("fgsm")),
        pgd=whole(event.get("pgd")),
        member_clean=[whole(correct) for correct in members] if isinstance(members, list) else [],
    )


def parse_epoch(event: Json) -> Epoch:
    """Parse an event of kind "epoch"."""
    return Epoch(event_step(event), whole(event.get("epoch")), number(event.get("seconds")))


def parse_checkpoint(event: Json) -> SavedCheckpoint:
    """Parse an event of kind "checkpoint"."""
    return SavedCheckpoint(event_step(event), _optional_text(event, "name"))


def parse_control(event: Json) -> Control:
    """Parse an event of kind "control"."""
    action = text(event.get("action", "?"))
    fields = [text(event[name]) for name in ("name", "value", "text") if event.get(name) is not None]
    return Control(
        step=event_step(event),
        action=action,
        name=_optional_text(event, "name"),
        value=number(event.get("value")),
        request=" ".join([action, *fields]),
        error=text(event["error"]) if event.get("error") else None,
    )


def parse_note(event: Json) -> Note:
    """Parse an event of kind "note"."""
    return Note(event_step(event), text(event.get("text", "")))


def parse_stopped(event: Json) -> Stopped:
    """Parse an event of kind "stopped"."""
    error = text(event["error"]) if event.get("error") else None
    return Stopped(event_step(event), text(event.get("state", "stopped")), error)


def parse_nonfinite(event: Json) -> list[str]:
    """Names of the fields of an event that were not finite and are stored as null."""
    names = event.get("nonfinite")
    return list(map(text, names)) if isinstance(names, list) else []


def event_step(event: Json) -> int | None:
    """The training step of an event of any kind; None if it names none."""
    return whole(event.get("step"))


def event_time(event: Json) -> float | None:
    """When an event of any kind was written, in seconds since 1970; None if it does not say."""
    return number(event.get("t"))


def _parse_interval(value: object) -> tuple[float, float] | None:
    ends = [number(end) for end in value] if isinstance(value, list) else []
    if len(ends) != 2 or ends[0] is None or ends[1] is None or not 0 <= ends[0] <= ends[1] <= 1:
        return None
    return ends[0], ends[1]


def _optional_text(event: Json, name: str) -> str | None:
    return None if event.get(name) is None else text(event[name])
