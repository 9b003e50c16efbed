"""PGD: projected gradient descent, in the maximum norm or in L2; and BIM, which starts at the image itself."""

import torch
from torch import nn

from trs_explorer.attacks.common import climbing, direction
from trs_explorer.attacks.losses import loss_named
from trs_explorer.attacks.steps import ascend
from trs_explorer.gradients import Images, Labels


def pgd(
    model: nn.Module,
    x: Images,
    y: Labels,
    *,
    eps: float,
    steps: int = 50,
    step_size: float | None = None,
    restarts: int = 1,
    random_start: bool = True,
    norm: str = "linf",
    targeted: bool = False,
    early_stop: bool = True,
    for_others: bool = False,
    loss: str = "ce",
    generator: torch.Generator | None = None,
) -> Images:
    """The iterate of highest loss among all visited that fool the model, over all restarts; x where none does.

    Shapes: x_adv as x. Units: eps and step_size in [0, 1] pixels, measured in `norm` ("linf" or "l2"); step_size None is eps/10.
    Each restart begins at a point drawn uniformly from the ball, then takes `steps` steps along the gradient's sign (linf) or
    direction (l2), each projected back into the ball and [0, 1].

    early_stop: images that are fooled (x itself included) leave within 5 steps. It does not change how many are fooled. Turn it
    off where the images are for *another* model: going on to the highest loss is what makes them transfer.
    for_others: goes on to the end, and gives the iterate of highest loss also where none fools this model: the other may fall.
    loss: "ce", "margin" or "dlr".
    generator: each example takes one draw from it, in order, from which the seeds of all its starts derive. So its noise depends
    on its place in the call, not on who stands beside it or leaves, and that of its first start not on how many follow: more
    restarts lose no image that fewer have fooled. None draws from PyTorch's global generator.
    Raises: ValueError for pixels outside [0, 1] or NaN, labels that are none of the model's classes, options out of range;
    TypeError for anything but tensors, and for a model that returns something else.
    Source: Madry et al., "Towards deep learning models resistant to adversarial attacks", ICLR 2018, section 2.1; 50 steps of
    eps/10: the TRS paper's evaluation as its authors' code runs it.
    """
    size = eps / 10 if step_size is None else step_size
    return ascend(
        model,
        x,
        y,
        lambda gradient, memory, _: (direction(gradient, norm).mul_(size), memory),
        eps=eps,
        steps=steps,
        step_size=size,
        restarts=restarts,
        random_start=random_start,
        norm=norm,
        targeted=targeted,
        early_stop=early_stop,
        generator=generator,
        objective=climbing(loss_named(loss)),
        for_others=for_others,
    )


def bim(
    model: nn.Module,
    x: Images,
    y: Labels,
    *,
    eps: float,
    steps: int = 50,
    step_size: float | None = None,
    norm: str = "linf",
    targeted: bool = False,
    early_stop: bool = True,
    for_others: bool = False,
    generator: torch.Generator | None = None,
) -> Images:
    """PGD from x itself, in smaller steps: step_size None is eps / steps, so that the last step may just reach the edge.

    The rest is as for `pgd`. Nothing is random: `generator` is there because all attacks are called alike.
    Source: Kurakin, Goodfellow, Bengio, "Adversarial examples in the physical world", ICLR 2017; the step: the TRS authors' code.
    """
    size = eps / max(steps, 1) if step_size is None else step_size
    own = {"norm": norm, "targeted": targeted, "early_stop": early_stop, "for_others": for_others, "generator": generator}
    return pgd(model, x, y, eps=eps, steps=steps, step_size=size, random_start=False, **own)
