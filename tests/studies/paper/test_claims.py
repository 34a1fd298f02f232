"""What several models side by side claim, from frames alone."""

import numpy as np
import polars as pl
from tests.studies.align.parts import Values, parts

import chiasm
from chiasm.core.claims import Claim, of_kind
from chiasm.results.claims import read_claims
from chiasm.studies.paper.findings import paper_findings

NAMES = ("tiny", "tiny-10", "tiny-20", "random")


def models(names=NAMES, accuracy=(0.9, 0.5, 0.7, 0.0)) -> pl.DataFrame:
    rows = []
    for name, right in zip(names, accuracy, strict=True):
        step = int(name.rpartition("-")[2]) if name[-1].isdigit() else None
        rows.append(
            {"model": name, "data": "scenes", "decoder": name, "stem": "tiny" if step else "", "step": step}
            | {"accuracy": right, "accuracy_low": right / 2, "accuracy_high": (1 + right) / 2, "n": 40}
            | {"baseline": name == "random"}
        )
    return pl.DataFrame(rows)


def score_parts(of: dict[str, float], n: int = 40) -> pl.DataFrame:
    """The scores of models on the same inputs, part by part."""
    common = 0.05 * np.random.default_rng(0).normal(size=n)
    frames = []
    for k, (model, mean) in enumerate(of.items()):
        own = mean + common + 0.01 * np.random.default_rng(k + 1).normal(size=n)
        values: Values = {("ima_same", "image", "question", None): own}
        frames.append(parts(values).with_columns(model=pl.lit(model)))
    return pl.concat(frames)


def claimed(**tables: pl.DataFrame) -> list[Claim]:
    return read_claims(chiasm.claims("paper", {"paper_models": models(), **tables}))


def test_a_score_that_rises_through_training_is_found_on_the_same_inputs():
    [one] = of_kind(claimed(paper_parts=score_parts({"tiny-10": 0.5, "tiny-20": 0.55})), "training")
    assert (one.verdict, one.control, one.where) == ("established", "step 10", "steps 10 to 20")
    assert abs(one.effect - 0.05) < 0.01
    [same] = of_kind(claimed(paper_parts=score_parts({"tiny-10": 0.5, "tiny-20": 0.5})), "training")
    assert same.verdict == "practically none"
    text = " ".join(f.text for f in paper_findings([one], "tiny"))
    assert "it rises from 0.497, by +0.05" in text


def cone(distance: float, n: int = 40, seed: int = 0) -> Values:
    rng = np.random.default_rng(seed)
    found: dict = {}
    for layer in range(3):
        found["paired_raw", "image", "question", layer] = 0.3 + 0.03 * rng.normal(size=n)
        for span in ("image", "question"):
            found["others_raw", span, span, layer] = 0.3 + distance + 0.03 * rng.normal(size=n)
    return found


def test_cones_stand_beside_the_baseline():
    def found(own: float, random: float) -> set[str]:
        both = [parts(cone(own)).with_columns(model=pl.lit("tiny"))]
        both.append(parts(cone(random, seed=1)).with_columns(model=pl.lit("random")))
        return {one.verdict for one in of_kind(claimed(paper_parts=pl.concat(both)), "cone")}

    assert found(0.2, 0.0) == {"established"}
    assert found(0.2, 0.2) == {"not established"}
    alone = parts(cone(0.2)).with_columns(model=pl.lit("tiny"))
    assert {one.verdict for one in of_kind(claimed(paper_parts=alone), "cone")} == {"uncontrolled"}


def test_models_of_one_decoder_are_compared_across_their_data():
    rng = np.random.default_rng(0)
    values: dict = {}
    spans = [f"{span} [{name}]" for name in ("photos", "films") for span in ("image", "question")]
    for i, a in enumerate(spans):
        for b in spans[i + 1 :]:
            kind = a.split()[0] == b.split()[0]
            values["others_raw", a, b, 1] = (0.6 if kind else 0.3) + 0.03 * rng.normal(size=40)
    together = parts(values).with_columns(model=pl.lit("together"))
    found = of_kind(claimed(paper_parts=together), "cone-together")
    assert {one.about for one in found} == {"perceptual tokens", "text"}
    assert {one.verdict for one in found} == {"uncontrolled"}
    assert all(0.25 < one.effect < 0.35 for one in found)


def test_models_alone_suffice_and_scores_are_related_within_groups():
    assert {one.kind for one in claimed()} == {"accuracy"}
    rng = np.random.default_rng(0)
    names = [f"m{chr(97 + k)}" for k in range(9)]
    about = {"a": "image", "b": "question", "statistic": "mean_token", "low": None, "high": None, "n": 40}
    rows = [{"model": name, "name": "ima_0", "value": float(rng.random())} | about for name in names]
    tables = {"paper_models": models(names, [k / 9 for k in range(9)]), "paper_score": pl.DataFrame(rows)}
    [one] = of_kind(read_claims(chiasm.claims("paper", tables)), "relation")
    assert one.about == "ima_0 of image and question with accuracy over variants"
    assert one.n == 9
    assert one.p is not None
    assert one.low is not None
    assert (one.low > 0) == (one.p <= 0.05 and one.effect > 0)
