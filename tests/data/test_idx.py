"""The idx reader on damaged files."""

import gzip

import pytest
import torch
from data_files import idx

from trs_explorer.data.idx import read_idx
from trs_explorer.options import UsageError

LABELS = torch.tensor([7, 0, 9], dtype=torch.uint8)


def test_every_truncation_of_a_packed_file_is_refused(tmp_path):
    whole, path = gzip.compress(idx(LABELS)), tmp_path / "labels.gz"
    for keep in range(len(whole)):
        path.write_bytes(whole[:keep])
        with pytest.raises(UsageError, match=r"labels\.gz .*: get it again"):
            read_idx(path, dimensions=1, remedy="get it again")
    path.write_bytes(whole)
    assert torch.equal(read_idx(path, dimensions=1, remedy="get it again"), LABELS)


@pytest.mark.parametrize("position", range(10, 30))
def test_a_flipped_bit_in_a_packed_file_is_refused(tmp_path, position):
    damaged = bytearray(gzip.compress(idx(LABELS)))
    damaged[position % len(damaged)] ^= 0x55
    path = tmp_path / "labels.gz"
    path.write_bytes(bytes(damaged))
    with pytest.raises(UsageError, match=r"labels\.gz .*: get it again"):
        read_idx(path, dimensions=1, remedy="get it again")
