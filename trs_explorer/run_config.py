"""Change a run's config.json after the run was created."""

import dataclasses
import json
from typing import Any

from trs_explorer.files import cannot_write, read_json, write_atomically
from trs_explorer.runs import Run, RunError


def change_config(run: Run, **fields: Any) -> Run:
    """Change fields of a run's config and write it. Other entries of config.json stay, such as the versions. Returns the run.

    Raises: RunError if it cannot be written.
    """
    path = run.path / "config.json"
    config = dataclasses.replace(run.config, **fields)
    text = json.dumps({**config.to_json(), **(read_json(path) or {}), **fields}, indent=2) + "\n"
    try:
        write_atomically(path, lambda temporary: temporary.write_text(text))
    except OSError as error:
        raise RunError(cannot_write(run.path, error)) from error
    return Run(run.path, config)
