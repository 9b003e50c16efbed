"""The cache of arrays: bounded by bytes, read-only, safe for many threads."""

import threading

import numpy as np
import pytest

from trs_explorer.explore.array_cache import ArrayCache

SOON = 10.0  # seconds that the threads get


def test_the_cache_is_bounded_by_bytes_and_drops_what_was_not_used():
    cache = ArrayCache(size=3000)
    arrays = {key: np.full(125, i, dtype=np.float64) for i, key in enumerate("abcd")}  # 1000 bytes each
    for key in "abc":
        cache.put(key, arrays[key])
    assert cache.get("a").tolist() == arrays["a"].tolist()
    cache.put("d", arrays["d"])
    assert [key for key in "abcd" if cache.get(key) is not None] == ["a", "c", "d"]
    cache.put("a", arrays["b"][:25])  # another value: the old one's bytes are free again
    cache.put("e", arrays["b"])
    assert [key for key in "acde" if cache.get(key) is not None] == ["a", "d", "e"]
    assert cache.get("a").tolist() == [1.0] * 25
    assert cache.put("huge", np.zeros(400)).nbytes == 3200
    assert cache.get("huge") is None
    assert cache.get("e") is not None  # nothing had to go for what does not fit


def test_what_is_in_the_cache_cannot_be_changed():
    cache, array = ArrayCache(), np.zeros((3, 4))
    kept = cache.put("a", array[1:])
    array[1:] = 5
    assert (cache.get("a") == 0).all()
    assert kept is cache.get("a")
    with pytest.raises(ValueError, match="read-only"):
        cache.get("a")[0] = 1


def test_many_threads_can_use_the_cache():
    cache, errors = ArrayCache(size=50_000), []

    def work(seed):
        try:
            g = np.random.default_rng(seed)
            for _ in range(300):
                key = int(g.integers(40))
                found = cache.get(key)
                assert found is None or (found == key).all()
                cache.put(key, np.full(int(g.integers(1, 1000)), key))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    assert not errors
    assert cache._used == sum(array.nbytes for array in cache._arrays.values()) <= 50_000
