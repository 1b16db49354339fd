"""Strangers who connect and say nothing, more of them than the process may have files open: users get in all the same."""

import resource
import socket

import pytest

from services import Polynya, Secured, wait_until

DESCRIPTORS = 160
STRANGERS = 220


@pytest.mark.parametrize("kind", [Polynya, Secured])
def test_silent_strangers_shut_nobody_out(kind, lake, tmp_path):
    server = kind(tmp_path, {"lake": lake}, {"connections_max": 80})
    held = []
    try:
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
        assert server.rows("SELECT 1") == [(1,)]
        for _ in range(STRANGERS):
            held.append(socket.create_connection(("127.0.0.1", server.port), timeout=5))
        assert server.rows("SELECT 2") == [(2,)]
        # What is left of them is not more than may be without a login.
        wait_until(lambda: server.open_files() < DESCRIPTORS - 40, "strangers kept their files open")
    finally:
        for stranger in held:
            stranger.close()
        server.stop()
    assert "panicked" not in server.log.read_text()
