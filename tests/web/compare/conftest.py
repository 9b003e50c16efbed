"""The Compare page on its own, on the runs of `explorer`."""

import dash
import pytest
from flask import Flask
from web_explorer import Explorer

from trs_explorer.explore.jobs import Jobs
from trs_explorer.web.compare.app import create_compare


@pytest.fixture(scope="session")
def compare(explorer: Explorer) -> dash.Dash:
    return create_compare(Flask("compare"), explorer.library, Jobs())
