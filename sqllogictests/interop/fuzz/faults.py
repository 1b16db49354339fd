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

KNOWN: list[Fault] = []


def known(text, *answers):
    """The name of the known fault that a finding shows, if it is one. The text is that of the query when it has been shrunk."""
    errors = [answer.error for answer in answers if answer is not None and answer.error is not None]
    for fault in KNOWN:
        if re.search(fault.pattern, text) and (fault.error is None or any(re.search(fault.error, error) for error in errors)):
            return fault.name
    return None
