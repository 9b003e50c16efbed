"""Measurements of several processes are put together only if they are of the same thing."""

import pytest

from trs_explorer.measure import sharding


def test_processes_that_measured_other_weights_are_not_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    def gathered(mine, everything) -> None:
        everything[:] = [mine, ({"weights": "b"}, mine[1])]

    monkeypatch.setattr(sharding.dist, "gather_object", gathered)
    group = sharding.ProcessGroup(0, 2)
    assert group.gather({"weights": "b"}, [1]) == [[1], [1]]
    with pytest.raises(ValueError, match=r"process 1 measured .*'b'.*the run has changed"):
        group.gather({"weights": "a"}, [1])
