"""Writes what the suite finds on every family's small model: `make certify`, or with names for some families only.

`--check` writes nothing and ends with 1 where a law is broken on the installed version of transformers.
"""

import sys
import time

import torch
import transformers
from tests.support.factories import EVERY, build
from tests.support.float64 import no_upcasts

from chiasm.models.conformance.suite import certify
from chiasm.models.families import FAMILIES
from chiasm.models.families.certificates import Certificate, certificates, certified, write
from chiasm.models.view import ModelView


def tried(name: str, known: Certificate | None) -> Certificate:
    """A small model of a family through the suite, in float64 throughout."""
    model, processor = build(name, dtype=torch.float64)
    with no_upcasts(torch.float64):
        return certify(ModelView(model, processor, name), known)


def main(arguments: list[str]) -> int:
    checking = "--check" in arguments
    names = [name for name in arguments if not name.startswith("-")] or EVERY
    found, bad = certificates(), 0
    print(f"transformers {transformers.__version__}")
    for name in names:
        started = time.perf_counter()
        family = next(family for family in FAMILIES if family.name == name)
        if family.too_old:
            print(f"-   {name:<20}         {family.too_old}")
            continue
        found[name] = tried(name, found.get(name))
        ok, reason = certified(family, found)
        bad += not ok
        print(f"{'ok' if ok else 'NO':<3} {name:<20} {time.perf_counter() - started:5.1f} s  {reason}", flush=True)
        if not checking:
            # After each, so that a run that is stopped keeps what it found.
            write({name: found[name] for name in found if name in EVERY})
    return int(checking and bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
