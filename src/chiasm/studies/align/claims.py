"""What an alignment run says: contrasts between spans, and between the model and its controls, with their intervals.

Source: Shukor & Cord 2024 (arXiv 2405.16700), whose figures these are; controls and intervals are not theirs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import isclose, log

import polars as pl

from chiasm.core.claims import Claim, judged, of_kind
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.studies.align.contrasts import Contrast, Judge, Parts, Terms
from chiasm.studies.align.tables import MODALITY_ISOLATION, NOISE_TOKENS, SAME_EXAMPLES, SMALLEST

SMALLEST_NORM = log(1.1)
"""Smallest log ratio of norms worth naming: 10 %."""
COSINE = "difference of cosines"
SHUFFLED, MAGNITUDE, ITSELF, PAIRED = "shuffled norms", "magnitude alone", "a span against itself", "itself"
SHUFFLED_PAIRS = "shuffled pairing"


def claims(tables: Mapping[str, pl.DataFrame], *, seed: int = 0, smallest: float | None = None) -> list[Claim]:
    """The claims of `chiasm align`, from its tables alone: `score`, and of `parts`, `parts_controls`,
    `parts_released`, `parts_random` and `extents` what there is.

    `smallest`: the smallest difference of cosines or overlaps worth naming, and of divergences in nat. Contrasts of
    one kind hold at once, over all spans and depths. Without `parts` there are the scores alone, uncontrolled.
    """
    score = tables["score"]
    least = SMALLEST if smallest is None else smallest
    own, beside = Parts.of(tables.get("parts")), tables.get("parts_controls")
    if own is None:
        return _scores_alone(score, least)
    controls = {
        name: parts
        for name in (NOISE_TOKENS, RANDOM_WEIGHTS, MODALITY_ISOLATION)
        if (parts := Parts.of(beside, control=name)) is not None
    }
    further = _further(tables.get("parts_random"))
    nulls = {name: parts for name, parts in controls.items() if name != MODALITY_ISOLATION}
    counts = _inputs(tables.get("extents"))
    same = Parts.of(beside, control=SAME_EXAMPLES)
    judge = Judge(own, same, nulls, counts.get, seed, further)
    each = Judge(own, same, controls, counts.get, seed, further)
    found = [*_score(judge, each, score, least), *change(judge, least), *_norms(judge), *cones(judge, least)]
    found += [*_shared(judge, each, least), *_neighbours(judge, least), *_gap(judge, least)]
    found += [*masks(judge, least), *_words(judge, least)]
    return found + list(_released(tables, own, same, counts, least, seed))


def _further(frame: pl.DataFrame | None) -> Mapping[str, Sequence[Parts]]:
    """The same quantities of further models with random weights."""
    if frame is None or not frame.height:
        return {}
    found = [Parts.of(frame.filter(sample=k).drop("sample")) for k in sorted(frame["sample"].unique())]
    return {RANDOM_WEIGHTS: [parts for parts in found if parts is not None]}


def _inputs(extents: pl.DataFrame | None) -> dict[bool, int | None]:
    """How many different inputs all examples ask about, and those with controls."""
    if extents is None or not {"input", "controlled"} <= set(extents.columns):
        return {}
    controlled = extents.filter("controlled")
    return {False: extents["input"].n_unique(), True: controlled["input"].n_unique()}


def _scores_alone(score: pl.DataFrame, least: float) -> list[Claim]:
    rows = score.filter(statistic="mean_token")
    return [
        Claim(
            kind="score",
            about=f"{row['name']} of {row['a']} and {row['b']}",
            quantity="alignment score",
            unit="1",
            effect=row["value"],
            low=row["low"],
            high=row["high"],
            n=row["n"],
            verdict=judged(row["value"], row["low"], row["high"], smallest=least, inputs=row["n"], controlled=None),
        )
        for row in rows.iter_rows(named=True)
    ]


def _score(judge: Judge, each: Judge, score: pl.DataFrame, least: float) -> list[Claim]:
    """The scores, with the intervals of the table `score`, and how far they lie from those of each control."""
    contrasts = [
        Contrast(f"{name} of {a} and {b}", "all", ((1.0, (name, a, b, None)),))
        for name in ("ima_0", "ima_same")
        for a, b in judge.own.pairs(name)
    ]
    about = {"quantity": "alignment score", "unit": "1", "smallest": least}
    names = tuple(each.nulls)
    own = of_kind(judge.claims("score", contrasts, **about), "score")
    return [
        *(_as_in_table(one, score, least) for one in own),
        *each.against("score-control", contrasts, names, **about | {"quantity": "difference of alignment scores"}),
    ]


def _as_in_table(one: Claim, score: pl.DataFrame, least: float) -> Claim:
    """A score with the interval that the table and the figure give it, so that one number has one interval."""
    name, _, spans = one.about.partition(" of ")
    a, _, b = spans.partition(" and ")
    for row in score.filter(name=name, a=a, b=b, statistic="mean_token").iter_rows(named=True):
        if row["low"] is not None and isclose(row["value"], one.effect, rel_tol=1e-4, abs_tol=1e-6):
            controlled = None if one.verdict == "uncontrolled" or one.control is None else one.established
            verdict = judged(
                one.effect, row["low"], row["high"], smallest=least, p=one.p, controlled=controlled, inputs=one.inputs
            )
            return replace(one, low=row["low"], high=row["high"], verdict=verdict)
    return one


def crossed(parts: Parts) -> list[tuple[str, str]]:
    """The pairs of a perceptual and a textual span that both stand in one example."""
    return parts.pairs("paired_raw")


def change(judge: Judge, least: float) -> list[Claim]:
    """How much more a perceptual token stays as it is than a textual one, from one state to the next."""
    contrasts = [
        Contrast(f"{a} less {b}", str(layer), ((1.0, ("drift", a, "", layer)), (-1.0, ("drift", b, "", layer))))
        for a, b in crossed(judge.own)
        for layer in judge.own.layers("drift", a)
    ]
    quantity = f"{COSINE} of a token with itself one state later"
    return judge.claims("change", contrasts, quantity=quantity, unit="1", smallest=least)


def _norms(judge: Judge) -> list[Claim]:
    contrasts = [
        Contrast(f"{a} to {b}", str(layer), ((1.0, ("log_norm", a, "", layer)), (-1.0, ("log_norm", b, "", layer))))
        for a, b in crossed(judge.own)
        for layer in judge.own.layers("log_norm", a)
    ]
    # Random tokens keep the norms of those that they replace.
    without = (NOISE_TOKENS,)
    quantity = "log of the ratio of median norms"
    return judge.claims("norms", contrasts, quantity=quantity, unit="nat", smallest=SMALLEST_NORM, without=without)


def cones(judge: Judge, least: float) -> list[Claim]:
    """Whether each span is nearer to itself in other inputs than to the other span of its own example."""
    contrasts = [
        Contrast(
            f"{span}, of {a} and {b}",
            str(layer),
            ((1.0, ("others_raw", span, span, layer)), (-1.0, ("paired_raw", a, b, layer))),
        )
        for a, b in crossed(judge.own)
        for span in (a, b)
        for layer in judge.own.layers("paired_raw", a, b)
    ]
    quantity = f"{COSINE}: with itself in other inputs less with the other span in one example"
    return judge.claims("cone", contrasts, quantity=quantity, unit="1", smallest=least)


def _shared(judge: Judge, each: Judge, least: float) -> list[Claim]:
    """Whether, beyond what all examples share, two spans of one example are nearer than those of two inputs."""

    def terms(a: str, b: str, layer: int) -> Terms:
        return (1.0, ("paired_centred", a, b, layer)), (-1.0, ("others_centred", a, b, layer))

    contrasts = [
        Contrast(f"{a} and {b}", str(layer), terms(a, b, layer))
        for a, b in judge.own.pairs("paired_centred")
        for layer in judge.own.layers("paired_centred", a, b)
    ]
    quantity = f"{COSINE}, each span's mean subtracted: in one example less in two"
    return [
        *judge.claims("shared", contrasts, quantity=quantity, unit="1", smallest=least),
        *each.against(
            "shared-attention", contrasts, (MODALITY_ISOLATION,), quantity=quantity, unit="1", smallest=least
        ),
    ]


def _neighbours(judge: Judge, least: float) -> list[Claim]:
    """Whether two spans have more nearest neighbours in common than examples paired at random."""
    contrasts = [
        Contrast(
            _spans(a, b),
            str(layer),
            ((1.0, ("neighbours", a, b, layer)),),
            SHUFFLED_PAIRS,
            ((1.0, ("neighbours_null", a, b, layer)),),
        )
        for a, b in judge.own.pairs("neighbours")
        for layer in judge.own.layers("neighbours", a, b)
    ]
    quantity = f"share of nearest neighbours in common, beyond {SHUFFLED_PAIRS}"
    return judge.claims("neighbours", contrasts, quantity=quantity, unit="1", smallest=least)


def _gap(judge: Judge, least: float) -> list[Claim]:
    """How much of what tells mean tokens apart is which span they are of."""
    contrasts = [
        Contrast(_spans(a, b), str(layer), ((1.0, ("gap_share", a, b, layer)),))
        for a, b in judge.own.pairs("gap_share")
        for layer in judge.own.layers("gap_share", a, b)
    ]
    quantity = "share of the variance of mean tokens that lies between the spans' means"
    return judge.claims("gap", contrasts, quantity=quantity, unit="1", smallest=least)


def masks(judge: Judge, least: float) -> list[Claim]:
    """Half of the weights: how far masks of two spans overlap, and how far beyond what needs no span at all."""
    pairs = judge.own.pairs("iou")
    nulls = ((SHUFFLED, "iou_permuted"), (MAGNITUDE, "iou_magnitude"))
    overlaps = [Contrast(_spans(a, b), "all", ((1.0, ("iou", a, b, None)),)) for a, b in pairs]
    beyond = [
        Contrast(
            f"{_spans(a, b)} beyond {name}",
            "all",
            ((1.0, ("iou", a, b, None)), (-1.0, (null, a, b, None))),
            name,
            ((1.0, (null, a, b, None)),),
            # Masks of any weights overlap beyond these: only another model, or other tokens, can show the same.
            suffices=False,
        )
        for a, b in pairs
        for name, null in nulls
    ]
    quantity = "overlap of masks, mean over matrices"
    return [
        *judge.claims("overlap", overlaps, quantity=quantity, unit="1", smallest=least),
        *judge.claims("masks", beyond, quantity=f"difference of the {quantity}", unit="1", smallest=least),
    ]


def _spans(a: str, b: str) -> str:
    return f"{a} and {b}"


def _words(judge: Judge, least: float) -> list[Claim]:
    """Whether words of two spans diverge more than those of one span's own tokens."""
    found = []
    for name, title in (("js", "Jensen-Shannon divergence"), ("kl", "Kullback-Leibler divergence")):
        contrasts = [
            Contrast(
                f"{a} from {b}",
                str(layer),
                ((1.0, (name, a, b, layer)),),
                ITSELF,
                ((1.0, (f"{name}_null", a, b, layer)),),
            )
            for a, b in judge.own.pairs(name)
            for layer in judge.own.layers(name, a, b)
        ]
        quantity = f"{title} of words beyond {ITSELF}"
        found += judge.claims(f"words-{name}", contrasts, quantity=quantity, unit="nat", smallest=least)
    return found


def _released(
    tables: Mapping[str, pl.DataFrame],
    own: Parts,
    same: Parts | None,
    counts: Mapping[bool, int | None],
    least: float,
    seed: int,
) -> Iterator[Claim]:
    """How far the released forms are off."""
    contrasts = []
    for span, _ in own.pairs("drift_released"):
        for layer in own.layers("drift_released", span):
            released, paired = ("drift_released", span, "", layer), ("drift_of_means", span, "", layer)
            contrasts.append(Contrast(span, str(layer), ((1.0, released), (-1.0, paired)), PAIRED, ((1.0, paired),)))
    alone = Judge(own, None, {}, counts.get, seed)
    quantity = f"{COSINE} between neighbouring states: over all pairs of examples less each with itself"
    yield from alone.claims("released-change", contrasts, quantity=quantity, unit="1", smallest=least)
    released = Parts.of(tables.get("parts_released"))
    if released is not None and same is not None:
        contrasts = [Contrast(_spans(a, b), "all", ((1.0, ("iou", a, b, None)),)) for a, b in released.pairs("iou")]
        beside = Judge(released, released, {"tokens alone": same}, counts.get, seed)
        quantity = "difference of the overlap of masks, as released less of the prompt's own tokens"
        yield from beside.against(
            "released-masks", contrasts, ("tokens alone",), quantity=quantity, unit="1", smallest=least
        )
