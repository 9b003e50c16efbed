"""Choose the device and the arithmetic of a training."""

import torch

from trs_explorer.options import UsageError


def resolve_device(name: str) -> torch.device:
    """The device named auto, cpu, cuda or cuda:N. Raises UsageError if this machine does not have it."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"--device: there is no {name!r}. Choose auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"--device: {name} is not supported. Choose auto, cpu, cuda or cuda:N")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count == 0:
            raise UsageError(f"--device {name}: this machine has no usable CUDA GPU (or torch is a CPU build); use --device auto")
        if device.index is not None and device.index >= count:
            raise UsageError(f"--device {name}: there are {count} GPUs here, cuda:0 to cuda:{count - 1}")
    return device


def use_bfloat16(precision: str, device: torch.device) -> bool:
    """Whether members compute in bfloat16: if requested, or with "auto" on a processor that is fast at it."""
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(capabilities.get(name) for name in ("amx_bf16", "avx512_bf16"))
