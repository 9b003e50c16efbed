"""In the test run every shape in a signature is checked (jaxtyping, by beartype)."""

import os
import sys

import jaxtyping
from hypothesis import settings
from shape_checks import checked_once_a_kind

# Before torch is there, and for the processes that tests start: two workers of two threads each wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # a test that takes two threads all the same lets none of them spin

# Without their bytecode, two workers would compile 440 files each, and every `trs` that a test starts all of the package.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

ROOMS = ("gradients", "models", "attacks", "defences", "evaluation", "explore")
ROOMS += tuple(f"data.{module}" for module in ("augment", "cifar", "fashion", "idx", "mnist"))
jaxtyping.jaxtyped = checked_once_a_kind  # which the import hook puts around every function
jaxtyping.install_import_hook([f"trs_explorer.{room}" for room in ROOMS], "beartype.beartype")

settings.register_profile("here", deadline=None)  # other tests run beside: how long one takes says nothing
settings.load_profile("here")
