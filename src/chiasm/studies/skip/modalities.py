"""Feed-forward left out for perceptual tokens and for as many text tokens: whose costs less.

The last token of the prompt is none of them: its own feed-forward writes the answer, so that leaving it out costs much
whatever the modality.
"""

import zlib
from typing import Any, NamedTuple

import numpy as np

from chiasm.core.example import Example
from chiasm.core.spans import PERCEPTUAL
from chiasm.interventions import Variant, Window, ZeroedBranch
from chiasm.interventions.published_skips import companion_layers
from chiasm.models.encoded import Encoded
from chiasm.models.executors.jobs import Job, JobResult, Readout
from chiasm.studies.skip.contributions import divergences

TEXT = "text"


class Matched(NamedTuple):
    """As many rows of a perceptual span and of text, in ascending order."""

    perceptual: tuple[int, ...]
    text: tuple[int, ...]


def matched_rows(encoded: Encoded, span: str, seed: int) -> Matched | None:
    """Rows of `span` and of text in equal number: all of the fewer, as many of the others at random; None without any.

    Text is everything in the prompt that is not perceptual, but for its last token. Other rows are drawn in every
    example.
    """
    last = int(encoded.spans.require("last")[-1])
    if span not in encoded.spans:
        return None
    seen = {int(p) for name in PERCEPTUAL if name in encoded.spans for p in encoded.spans[name]}
    rows = ([int(p) for p in encoded.spans[span]], [p for p in range(last) if p not in seen])
    count = min(len(part) for part in rows)
    if not count:
        return None
    rng = np.random.default_rng([seed, zlib.crc32(encoded.example_id.encode())])
    return Matched(*(tuple(sorted(rng.permutation(part)[:count].tolist())) for part in rows))


def modality_job(forced: Encoded, layers: int, span: str, seed: int) -> Job | None:
    """The feed-forward of both kinds of rows left out, in half of the layers and in all, read at the forced answer."""
    rows = matched_rows(forced, span, seed)
    if rows is None:
        return None
    where = {"all": tuple(range(layers))}
    if layers > 3:
        where = {"half": companion_layers(layers, start=0, interval=2)} | where
    variants = tuple(
        Variant(f"{name}:{whose}", tuple(ZeroedBranch(Window(k, k + 1, k), "mlp", own) for k in chosen))
        for name, chosen in where.items()
        for whose, own in ((span, rows.perceptual), (TEXT, rows.text))
    )
    last = int(forced.spans.require("last")[-1])
    positions = (last, *(int(p) for p in forced.spans["answer"][:-1]))
    return Job(forced, variants, Readout(positions=positions, tokens=forced.answer_tokens, full=True))


def modality_rows(example: Example, job: Job, outcome: JobResult) -> list[dict[str, Any]]:
    """The rows of the table `modalities`."""
    kl, clean = divergences(outcome), float(outcome.clean.double().sum())
    rows = []
    for k, variant in enumerate(job.variants):
        layers, _, span = variant.name.partition(":")
        measured = {
            "kl": float(kl[k]),
            "logprob_clean": clean,
            "logprob_skip": float(outcome.logprobs[k].double().sum()),
        }
        place = {"example_id": example.id, "type": example.type, "layers": layers, "span": span}
        rows.append(place | {"tokens": len(variant.changes[0].rows)} | measured)
    return rows
