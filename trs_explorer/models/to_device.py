"""Copies between the CPU and a GPU, for which the CPU waits no longer than it must."""

from torch import Tensor, device


def to_device(values: Tensor, to: device) -> Tensor:
    """Return values on a device. A copy from the CPU to a GPU goes on while the CPU does: from pinned memory, non_blocking.

    Work on the GPU that uses the copy waits for it by itself.
    """
    if values.device.type == "cpu" and to.type == "cuda":
        return values.pin_memory().to(to, non_blocking=True)
    return values.to(to)
