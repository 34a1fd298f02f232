"""Sentences follow the numbers: above, below or not apart from controls, and the reach of a fault."""

import polars as pl

from chiasm.studies.align.findings import align_findings

SPANS = ("image", "question")


def score(value, control=None):
    row = {"name": "ima_same", "statistic": "mean_token", "a": "image", "b": "question", "n": 50}
    row |= {"value": value, "low": value - 0.05, "high": value + 0.05}
    return row if control is None else row | {"control": control}


def tables(**more):
    norms = [
        {"span": s, "layer": k, "statistic": "median", "mean": m * (k + 1), "std": 0.1, "n": 50}
        for s, m in zip(SPANS, (30.0, 2.0), strict=True)
        for k in range(3)
    ]
    drift = [
        {"span": s, "layer": k, "gap": 1, "mean": m, "low": m - 0.01, "high": m + 0.01, "n": 50}
        for s, m in zip(SPANS, (0.9, 0.5), strict=True)
        for k in range(2)
    ]
    found = {"norms": pl.DataFrame(norms), "drift": pl.DataFrame(drift), "score": pl.DataFrame([score(0.5)])}
    return found | {name: pl.DataFrame(rows) for name, rows in more.items()}


def text(**more):
    return " ".join(f.text for f in align_findings(tables(**more)))


def test_a_score_stands_beside_each_control():
    found = text(score_controls=[score(0.2, "noise"), score(0.9, "twin")])
    assert "cosine of 0.500 (95 % interval 0.450 to 0.550, n = 50); above random tokens" in found
    assert "below random weights: 0.900" in found
    assert "not clearly apart from random weights" in text(score_controls=[score(0.52, "twin")])
    assert "no control stands beside it" in text()


def test_norms_and_change():
    found = text()
    assert "is 15 times that of question tokens at the embeddings (30 against 2)" in found
    assert "image tokens change less than question tokens at 2 and more at 0 of 2 depths" in found


def test_the_largest_fault_of_the_released_form_is_named():
    rows = [
        {"span": s, "layer": k, "gap": 1, "low": 0.1, "high": 0.2, "n": 50, "mean": mean, "paired": 0.9}
        for s, k, mean in (("image", 0, 0.88), ("question", 1, 0.4))
    ]
    found = text(drift_released=rows)
    assert "the change of question between states 1 and 2 reads 0.400" in found
    assert "itself gives 0.900" in found


def test_few_examples_are_called_few():
    assert "With n = 5 an interval means little" in " ".join(
        f.text for f in align_findings(tables(score=[score(0.5) | {"n": 5}]))
    )


def test_shared_content_stands_beside_controls():
    def row(paired, variant, mean, a="image", b="question", **more):
        kind = {"a": a, "b": b, "layer": 2, "tap": "residual", "mode": "avg", "paired": paired, "variant": variant}
        return kind | {"mean": mean, "low": mean - 0.01, "high": mean + 0.01, "n": 50} | more

    rows = [row(True, "raw", 0.3), row(True, "centred", 0.4), row(False, "centred", 0.0), row(False, "raw", 0.3)]
    rows += [row(False, "raw", 0.9, a=s, b=s) for s in SPANS]
    found = text(similarity=rows, similarity_controls=[row(True, "centred", 0.6, control="twin")])
    assert "at 1 of 1 depths image and question are each nearer to themselves" in found
    assert "at state 2: cosine 0.400" in found
    assert "below random weights: 0.600" in found
