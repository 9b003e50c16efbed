"""How much memory a training takes on a GPU, estimated without one: a step on tensors that have shapes but no values."""

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from trs_explorer.catalogue import DATA, load
from trs_explorer.config import TrainConfig
from trs_explorer.models.factory import build_for
from trs_explorer.signatures import parameter_names
from trs_explorer.sources import megabytes

META = torch.device("meta")
OPTIMISER_COPIES = {"adam": 2, "sgd": 1}  # numbers that the optimiser keeps for each weight
SPARE = 1.1  # our choice: what the allocator rounds up, and cannot use between blocks
LIBRARIES = 500 << 20  # our choice: what CUDA and its libraries take for themselves; not measured here


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes of a training.

    weights: of the members, with what the optimiser keeps for them.
    data: the training images and labels, which lie on the device, with what the method keeps of every image.
    step: the most that a step has at once besides: activations, gradients, and the graph of gradients of gradients.
    """

    weights: int
    data: int
    step: int

    @property
    def total(self) -> int:
        """All of it, with SPARE and LIBRARIES."""
        return int(SPARE * (self.weights + self.data + self.step)) + LIBRARIES

    def warning(self, free: int, batch_size: int) -> str:
        """One line where the training will not fit into `free` bytes, with the way out; empty where it will."""
        if self.total <= free:
            return ""
        fixed = self.weights + self.data
        room = (free - LIBRARIES) / SPARE - fixed
        fits = int(batch_size * room / self.step) if room > 0 else 0
        way_out = f"take --batch-size {fits} or less, or fewer --members" if fits else "take fewer --members or a smaller --model"
        return f"the training needs about {megabytes(self.total)} of memory, {megabytes(free)} are free: {way_out}"


class PeakMemory(TorchDispatchMode):
    """Counts the bytes of all tensors that are made while the mode is on and still there. peak: the most at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        before = {leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        given = dict(kwargs or {})
        if "meta" in {leaf.device.type for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}:
            given.pop("generator", None)  # which some draws of nothing refuse
        result = func(*args, **given)
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                storage = leaf.untyped_storage()
                if storage._cdata not in before and storage._cdata not in self._known:
                    self._add(storage)
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        self._known.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)

        def forget() -> None:
            self._known.discard(key)
            self.now -= size

        weakref.finalize(storage, forget)


def estimate(config: TrainConfig, images: int = 0) -> MemoryEstimate | None:
    """The memory that a training takes on a GPU, in float32; None where a step reads values, as code of others may.

    images: in the training set; 0: as many as the data set has, or the config's limit.
    No pixel is computed: the loss of one batch and its gradients are made on torch's meta device. bfloat16 takes less.
    """
    about = DATA[config.data]
    ensemble = build_for(config).to(META)
    weights = sum(weight.numel() * weight.element_size() for weight in ensemble.state_dict().values())
    count = images or min(config.limit or about.sizes[0], about.sizes[0]) or config.batch_size
    batch, pixels = min(config.batch_size, count), torch.empty(about.shape, device=META).numel()
    x = torch.empty((batch, *about.shape), device=META)
    y = torch.empty(batch, dtype=torch.long, device=META)
    generator, rows = torch.Generator(), torch.zeros(batch, dtype=torch.long, device=META)
    memory = torch.empty((count, *about.shape), dtype=torch.uint8, device=META)
    defence = load(config.about_method.function)
    context: dict[str, object] = {
        "progress": 1.0, "generator": generator, "epoch_generator": generator, "other": (x.clone(), y), "member": 0,
        "weights": torch.empty(batch, device=META), "image_memory": memory, "rows": rows,
        "x_ce": x.clone() if config.adversarial else x,
    }  # fmt: skip
    names = parameter_names(defence)
    parameters = [weight for weight in ensemble.train().parameters() if weight.requires_grad]
    if config.about_method.boost:
        parameters = list(ensemble.members[0].parameters())
    counted = PeakMemory()
    try:
        with counted:
            given = {name: value for name, value in context.items() if name in names}
            terms = defence(ensemble, x, y, **config.options, **given)
            gradients = torch.autograd.grad(terms["total"], parameters)
            del gradients, terms
    except (RuntimeError, NotImplementedError):
        return None
    data = count * (pixels + 8) + (memory.nbytes if "image_memory" in names else 0)
    return MemoryEstimate(weights * (1 + OPTIMISER_COPIES[config.optimizer]), data, counted.peak)


def warnings(config: TrainConfig, device: torch.device, images: int) -> list[str]:
    """What the user of a GPU should know before the first step: that memory will not be enough for it.

    images: in the training set, which may already be on the device.
    """
    if device.type != "cuda":
        return []
    estimated = estimate(config, images)
    free = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_allocated(device)
    text = estimated.warning(free, config.batch_size) if estimated else ""
    return [text] if text else []
