"""A hostile minute, in small: see hostile.py. How long the honest client waits is not judged here."""

import pathlib
import tempfile

import hostile
from services import Seaweed


def test_the_server_lives_within_its_limits_beside_hostile_clients():
    with tempfile.TemporaryDirectory(prefix="polynya-hostile-") as folder:
        folder = pathlib.Path(folder)
        seaweed = Seaweed(folder / "seaweed")
        try:
            options = hostile.parse(["--minutes", "0.4", "--scale", "0.01", "--untimed"])
            assert hostile.run(folder, seaweed, options) == []
        finally:
            seaweed.stop()
