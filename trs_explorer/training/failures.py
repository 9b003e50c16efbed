"""What is said of a folder that cannot be written any more."""

import errno

from trs_explorer.runs import Run

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


def cannot_write(run: Run, what: str, error: OSError) -> str:
    """Why a training had to end when it wanted to do `what` in its folder, and what its owner can do."""
    if not run.path.is_dir():
        return f"cannot {what}: the folder {run.path} was removed or renamed while it was trained in"
    if error.errno in _FULL:
        way_out = "Make room"
    elif error.errno in _FORBIDDEN:
        way_out = "Allow writing there"
    else:
        way_out = "See that the folder can be written"
    return f"cannot {what}: {error.strerror or error}. {way_out}, then continue with --resume {run.path}"
