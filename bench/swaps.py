"""What it costs to find whose image an example is shown, by the number of examples: `python -m bench.swaps`."""

import json
import time
from pathlib import Path

import numpy as np

from chiasm.core.example import Example
from chiasm.studies.flow.swaps import Donors

_SIZES = (1_000, 10_000, 100_000, 1_000_000)
_ASKED = 2_000
_ANSWERS = 20
_QUESTIONS = 5  # on one image
_OUT = Path(__file__).parent / "results" / "swaps.json"


def main() -> None:
    rows = []
    for size in _SIZES:
        examples = [
            Example(id=f"e{k}", question="?", answer=f"a{k % _ANSWERS}", images=(np.array([[[k // _QUESTIONS]]]),))
            for k in range(size)
        ]
        started = time.process_time()
        donors = Donors(examples, 0)
        made = time.process_time() - started
        chosen = examples[:: max(1, size // _ASKED)]
        started = time.process_time()
        for example in chosen:
            donors.of(example)
        each = (time.process_time() - started) / len(chosen)
        row = {"examples": size, "ring_seconds": round(made, 3), "ring_microseconds_each": round(1e6 * made / size, 2)}
        rows.append(row | {"microseconds_each": round(1e6 * each, 2)})
        print(rows[-1], flush=True)
    _OUT.write_text(json.dumps({"processor_time": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
