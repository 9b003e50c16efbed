"""The cards in order."""

from trs_explorer.web.lesson import baseline, doubt, images, one_attack, theorem, train_it, zigzag

MODULES = (one_attack, zigzag, train_it, theorem, images, baseline, doubt)
CARDS = tuple(module.CARD for module in MODULES)
VIEWS = {module.CARD.name: module.view for module in MODULES if hasattr(module, "view")}  # what the server draws
