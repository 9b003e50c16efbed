"""In the test run every shape in a signature is checked (jaxtyping, by beartype)."""

from jaxtyping import install_import_hook

ROOMS = ("gradients", "models", "attacks", "defences", "evaluation")
install_import_hook([f"trs_explorer.{room}" for room in ROOMS], "beartype.beartype")
