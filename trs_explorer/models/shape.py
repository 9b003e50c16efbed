"""Check which image shapes an architecture can take."""

from trs_explorer.options import UsageError


def check_shape(model: str, shape: tuple[int, int, int], *, least: int, multiple: int = 1) -> None:
    """Raise UsageError unless height and width are at least `least` and multiples of `multiple`."""
    channels, height, width = shape
    if min(height, width) >= least and not height % multiple and not width % multiple:
        return
    needs = f"height and width of at least {least}" + (f" that are multiples of {multiple}" if multiple > 1 else "")
    other = "mlp" if min(height, width) < least else "lenet"
    raise UsageError(f"--model {model} needs images with {needs}, got {channels} x {height} x {width}: try --model {other}")
