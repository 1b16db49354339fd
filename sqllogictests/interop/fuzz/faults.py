"""Faults of ours that are known and not mended: their findings are counted, and are no failures.

An entry hides all that its pattern fits: it goes away with the fault. `pattern` is sought in our text of the query, `error` in our error.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    name: str
    pattern: str = ""
    error: str | None = None


KNOWN = []


def known(text, answer):
    """The known fault that a finding shows, if it is one."""
    for fault in KNOWN:
        if (fault.error is None or answer is not None and answer.error and re.search(fault.error, answer.error)) and re.search(fault.pattern, text):
            return fault.name
    return None
