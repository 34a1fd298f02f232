"""What a skipping run found, in one sentence: which plan to use and what it costs, or why none is recommended."""

from collections.abc import Sequence

from chiasm.core.claims import Claim, of_kind
from chiasm.results.wording import listed, number, sentence
from chiasm.studies.skip.decision import BATCH, ONE_PROMPT
from chiasm.studies.skip.findings import points
from chiasm.studies.skip.tables import NONE


def skip_headline(claims: Sequence[Claim]) -> str:
    """The sentence."""
    chosen = of_kind(claims, "recommended")
    if not chosen:
        return "No plan has been verified yet."
    one, kept = chosen[0], of_kind(claims, "kept")
    allowed = points((one.control_effect or 0.0) / 100)
    if one.about != NONE:
        share = number(next(of.effect for of in of_kind(claims, "operations", one.about)), unit="%", digits=0)
        text = f"use the plan {one.about}: it leaves out {one.where}, takes {share} of the operations, and is "
        return sentence(
            f"{text}established to keep within a loss of {allowed} of right answers", _time(claims, one.about)
        )
    held = [claim.about for claim in kept if claim.established]
    if not kept:
        return "No plan is recommended: none leaves out operations."
    if not held:
        return sentence(
            f"no plan is recommended: of {len(kept)} none is established to keep within a loss of {allowed} of right "
            "answers"
        )
    return sentence(
        f"no plan is recommended: {len(held)} of {len(kept)} are established to keep within a loss of {allowed} of "
        "right answers, and none of these to save time"
    )


def _time(claims: Sequence[Claim], plan: str) -> str:
    """Where it is established to be faster, which is why it may be recommended."""
    names = {ONE_PROMPT: "one prompt", BATCH: "a batch of prompts"}
    faster = [one for one in of_kind(claims, "time", plan) if one.established and one.effect < 0]
    parts = [f"{names[one.where]} in {number(-one.effect, unit='%', digits=0)} less time" for one in faster]
    return f"it reads {listed(parts)}" if parts else ""
