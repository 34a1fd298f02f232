"""An interrupt that Python drops is not lost."""

import os
import signal
import subprocess
import sys

import pytest

SCRIPT = """
import os, signal, sys, weakref
from chiasm.cli import application, main

class Thing:
    pass

def dropped(*_, **__):
    # As the callbacks of importing do: what is raised in one is printed and forgotten.
    thing = Thing()
    kept = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGINT))
    del thing
    return lambda *args, **more: print("went on")

application.application = dropped
main.main(["models"])
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals are sent")
def test_one_that_comes_in_a_callback_ends_the_command(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        env=os.environ,
        cwd=tmp_path,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        check=False,
    )
    assert "went on" in done.stdout, done.stderr
    assert "Exception ignored" in done.stderr
    assert done.returncode == 130
    assert done.stderr.endswith("Interrupted.\n")
