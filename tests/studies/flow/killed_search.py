"""A search of sufficient routes that is killed when it begins a walk: `python -m tests.studies.flow.killed_search`."""

import os
import signal
import sys
from pathlib import Path

from tests.studies.flow import flow_runs

from chiasm.results import waiting
from chiasm.studies.flow.sufficient_search import RouteSearch

OPTIONS = {"cuts": ("image->question",), "sufficient": 6, "bands": 2, "controls": True, "batch_size": 2}


def main(out: str, walks: int) -> None:
    """Kill this process when it has made so many walks; what they gave is on the disk by then."""
    waiting.SECONDS = 0.0
    begun, walk = [0], RouteSearch._walked

    def walked(search, batch):
        begun[0] += 1
        if begun[0] > walks:
            os.kill(os.getpid(), signal.SIGKILL)
        return walk(search, batch)

    RouteSearch._walked = walked
    flow_runs.run(flow_runs.view_of(), flow_runs.examples(6), Path(out), resume=True, **OPTIONS)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
