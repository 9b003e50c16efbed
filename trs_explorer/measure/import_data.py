"""The config of an ensemble that was trained elsewhere: what builds its members, and the data that it classifies."""

from collections.abc import Callable

from trs_explorer import data as data_sets
from trs_explorer import lookup, plugins
from trs_explorer.config import TrainConfig, absolute
from trs_explorer.data.custom import describe
from trs_explorer.measure.import_run import imported_config


def config_of_import(model: str, data: str, data_dir: str, *, notify: Callable[[str], object]) -> TrainConfig:
    """Return the config for `import_run`. Naming code allows it to run.

    - model: what builds the whole ensemble, or a model of the catalogue.
    - data: a set of the catalogue, whose files are in the folder data_dir if that is not empty; or data of the user.
    - notify: called with what was done to data of the user.

    Raises: UsageError for data that cannot be used.
    """
    plugins.allow("data", data)
    if not lookup.is_custom_data(data):
        folder = absolute(data_dir)
        test = data_sets.load(data, train=False, data_dir=folder)
        prints = {"test": test.fingerprint} if test.fingerprint else {}
        return imported_config(model, data, data_dir=folder, fingerprint=prints, members=2)
    user_data = describe(data, train=False)
    for note in user_data.notes:
        notify(f"{data}: {note}")
    return imported_config(model, user_data.name, data_dir=user_data.place, fingerprint=user_data.fingerprint, members=2)
