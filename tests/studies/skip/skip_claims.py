"""Decisions and sentences from made tables, for the tests of skipping."""

from tests.support import skip_tables as made

from chiasm.core.claims import of_kind
from chiasm.studies.skip.claims import claims
from chiasm.studies.skip.decision import decide
from chiasm.studies.skip.findings import skip_findings

FAST = {"safe": (0.8, 0.8), "cheap": (0.7, 0.7), "lossy": (0.5, 0.5)}
PLAN = {"score": 0.9, "loss": 0.02, "loss_low": 0.01, "loss_high": 0.05, "recommended": False, "kind": "search"}
SHARES = {"safe": 0.8, "cheap": 0.7, "lossy": 0.5}


def decided(losses, n=600, shares=None, ratios=None, max_loss=0.02, **more):
    verdicts = made.verdicts(losses, n=n, **more)
    return decide(verdicts, made.plans(shares or SHARES, max_loss), made.timings(ratios or FAST))


def one_of(found, kind, about=None):
    [one] = of_kind(found, kind, about)
    return one


def texts(tables, **more):
    return [finding.text for finding in skip_findings(claims(tables, **more))]
