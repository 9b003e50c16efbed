"""In the test run every shape in a signature is checked (jaxtyping, by beartype)."""

import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

# Before torch is imported, and for the processes that tests start: two workers of two threads each wait for
# one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # a test that takes two threads all the same lets none of them spin

import pytest
from hypothesis import HealthCheck, settings

# Without their bytecode, two workers would compile 440 files each, and every `trs` that a test starts all of the package.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Signals that whoever started the tests ignores (nohup, a job in the background) would be ignored by all that tests start, too.
if threading.current_thread() is threading.main_thread():
    for number, handler in {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}.items():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)

ROOMS = ("gradients", "models", "attacks", "defences", "evaluation", "explore")
ROOMS += tuple(f"data.{module}" for module in ("augment", "cifar", "fashion", "idx", "mnist"))

# Other tests run beside: how long one takes says nothing.
settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("here")


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    """Install the checks of shapes before anything else is imported, unless other processes run the tests.

    Called when this file is loaded, before the conftest.py of any folder. The process that only hands tests to workers needs no
    torch: to load it would take two seconds before the first worker starts.
    """
    config = pluginmanager.get_plugin("pytestconfig")
    known = config.known_args_namespace
    is_worker = "PYTEST_XDIST_WORKER" in os.environ
    if is_worker or known.collectonly or known.usepdb or not getattr(known, "numprocesses", None):
        _check_shapes()


def _check_shapes() -> None:
    import jaxtyping
    from shape_checks import checked_once_a_kind

    jaxtyping.jaxtyped = checked_once_a_kind  # which the import hook puts around every function
    jaxtyping.install_import_hook([f"trs_explorer.{room}" for room in ROOMS], "beartype.beartype")


@pytest.fixture(scope="session", autouse=True)
def _mnist_once() -> Iterator[None]:
    """Unpack, check and hash the embedded MNIST once in a process, not for everyone who loads it."""
    from trs_explorer.data import dataset, mnist

    read, fingerprint, embedded = mnist.read_split, dataset.fingerprint, mnist.EMBEDDED

    known: dict[bool, tuple] = {}  # whether it is to train on: images, labels, fingerprint

    def read_once(folder: Path, train: bool, **more: object) -> tuple:
        if folder != embedded:
            return read(folder, train, **more)
        if train not in known:
            split = read(folder, train, **more)
            known[train] = *split, fingerprint(*split)
        return known[train][:2]

    def hashed_once(x: object, y: object) -> str:
        return next((digest for images, labels, digest in known.values() if (images is x and labels is y)), "") or fingerprint(
            x, y
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mnist, "read_split", read_once)
        patch.setattr(dataset, "fingerprint", hashed_once)
        yield


def pytest_collection_finish() -> None:
    gc.freeze()  # what is there now stays: no collection of garbage looks at modules and tests again
    gc.set_threshold(10_000)
