"""A small soak: TPC-H by several clients with limits of one request and next to no memory to read ahead. See soak.py."""

import pathlib
import tempfile

import pytest
import soak
from services import Seaweed


@pytest.fixture(scope="module")
def tiny():
    with tempfile.TemporaryDirectory(prefix="polynya-soak-") as folder:
        seaweed = Seaweed(pathlib.Path(folder) / "seaweed")
        try:
            options = soak.parse(["--scale", "0.02", "--tpcds", "0", "--clients", "4", "--bound", "120"])
            soaking = soak.Soak(seaweed, pathlib.Path(folder), options)
            soaking.prepare()
            yield soaking
        finally:
            seaweed.stop()


@pytest.mark.parametrize(("requests", "ahead", "workers"), [(1, "16KiB", 0), (2, "1MiB", 0), (1, "1MiB", 2)])
def test_queries_end_under_limits_so_tight_that_whatever_can_wait_for_itself_does(tiny, requests, ahead, workers):
    before = tiny.done
    tiny.round(requests, ahead, workers, seconds=6)
    assert not tiny.wrong
    assert tiny.done >= before + 4
