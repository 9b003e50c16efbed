"""In the test run every shape in a signature is checked (jaxtyping, by beartype)."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

ROOMS = ("gradients", "models", "attacks", "defences", "evaluation", "explore")
ROOMS += tuple(f"data.{module}" for module in ("augment", "cifar", "fashion", "idx", "mnist"))
install_import_hook([f"trs_explorer.{room}" for room in ROOMS], "beartype.beartype")

settings.register_profile("here", deadline=None)  # other tests run beside: how long one takes says nothing
settings.load_profile("here")

# Where nets are so small that a second thread only waits for the first, and two workers' threads for one another.
ONE_THREAD = [
    Path(__file__).parent / name
    for name in ("attacks", "cli", "evaluation", "explore/test_gallery.py", "training/test_methods.py")
]


@pytest.fixture(autouse=True, scope="module")
def one_thread(request: pytest.FixtureRequest) -> Iterator[None]:
    if not any(request.path.is_relative_to(place) for place in ONE_THREAD):
        yield
        return
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
