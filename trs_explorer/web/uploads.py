"""Uploaded pictures: small ones are in the page's address, larger ones are kept here and named by a digest."""

import base64
import binascii
import hashlib
from collections import OrderedDict
from threading import Lock

MOST_IN_ADDRESS = 6000  # bytes of a picture: an address with it must be accepted by `access`
KEPT = 64  # pictures, the newest
MARK = "kept-"

_kept: OrderedDict[str, bytes] = OrderedDict()
_lock = Lock()


def written(picture: bytes) -> str:
    """Return how the state holds a picture of one byte per pixel and channel: in base64url, or as the name of one kept here."""
    if len(picture) <= MOST_IN_ADDRESS:
        return base64.urlsafe_b64encode(picture).decode()
    name = MARK + hashlib.sha256(picture).hexdigest()[:32]
    with _lock:
        _kept[name] = picture
        _kept.move_to_end(name)
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
    return name


def is_kept_here(upload: str) -> bool:
    """Whether a state's text names a picture that this process keeps, or has kept."""
    return upload.startswith(MARK)


def pixels(upload: str, count: int) -> bytes | None:
    """Return a picture's pixels from what the state holds; None unless there are `count` of them."""
    if is_kept_here(upload):
        with _lock:
            picture = _kept.get(upload)
        return picture if picture is not None and len(picture) == count else None
    try:
        decoded = base64.b64decode(upload.encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return decoded if len(decoded) == count else None
