"""The blocks of code in the documentation, and a shell that runs them."""

import os
import pathlib
import re
import subprocess

from services import program

ROOT = pathlib.Path(__file__).parents[2]


def blocks(page, language):
    """The fenced blocks of a page below docs, in a language."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / "docs" / page).read_text(), re.DOTALL | re.MULTILINE)
    assert found, f"docs/{page} has no block in {language}"
    return found


def shell(script, folder, typed="", seconds=60, **environment):
    """Runs a script as a reader would, with `polynya` among the programs; what it prints."""
    path = f"{pathlib.Path(program('POLYNYA_BIN')).parent}:{os.environ['PATH']}"
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=folder, env={**os.environ, "PATH": path, **environment}, input=typed,
                          capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, done.stdout[-12_000:] + done.stderr[-4_000:]
    return done.stdout
