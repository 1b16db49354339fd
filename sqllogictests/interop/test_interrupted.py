"""Ingests and definitions that are ended at random moments, by their client, a deadline or SIGKILL: `cargo xtask interrupt`, in small."""

from interrupted import ENDS, KINDS, Interrupted, Lake


def test_a_change_that_is_interrupted_has_happened_or_not_and_leaves_nothing(tmp_path):
    interrupted = Interrupted(Lake(tmp_path, "local"), seed=14)
    try:
        # Every change is ended in every way.
        wrong = [(name, how, *found) for name in KINDS for how in ENDS if (found := interrupted.round(name, how)[0])]
    finally:
        interrupted.server.stop()
    assert not wrong
