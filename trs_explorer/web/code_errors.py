"""Errors that code of others raises while a page computes with it, as messages for the page: which line of which file."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from trs_explorer import plugins
from trs_explorer.explore.run_names import FOLDER
from trs_explorer.options import UsageError
from trs_explorer.runs import RunError

P = ParamSpec("P")
T = TypeVar("T")


def readable_code_errors(function: Callable[P, T]) -> Callable[P, T]:
    """Return a function that raises UsageError where code of others fails in it, "mine.py, line 7, in forward: ...".

    The message has no folders: a page may be shown to other machines. Errors from elsewhere stay as they are.
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except (UsageError, RunError):
            raise
        except Exception as error:
            place = plugins.where(error)
            if not place:
                raise
            raise UsageError(FOLDER.sub("", place)) from error

    return call
