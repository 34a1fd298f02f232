"""Findings of an alignment run in words: every number in a sentence stands in a table of the run."""

from collections.abc import Mapping

import polars as pl

from chiasm.results.findings import Finding
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.results.series import in_order
from chiasm.results.wording import estimate
from chiasm.studies.align.tables import MODALITY_ISOLATION, NOISE_TOKENS

Frames = Mapping[str, pl.DataFrame]
_FEW = 20
_CONTROLS = {
    NOISE_TOKENS: "random tokens in place of what is perceived",
    RANDOM_WEIGHTS: "random weights",
    MODALITY_ISOLATION: "the same model without attention between them in the first blocks",
}


def align_findings(tables: Frames) -> list[Finding]:
    """What is found, strongest first; always at least three."""
    found = [*_score(tables), *_drift(tables), *_norms(tables), *_cones(tables), *_weights(tables), *_words(tables)]
    if "drift_released" in tables:
        found.append(_released(tables["drift_released"]))
    return sorted(found, key=lambda finding: -finding.strength)


def _score(tables: Frames) -> list[Finding]:
    found = []
    rows = tables["score"].filter(statistic="mean_token")
    controls = tables.get("score_controls")
    for row in rows.iter_rows(named=True):
        a, b = row["a"], row["b"]
        kind = f"{a} as it enters and {b}" if row["name"] == "ima_0" else f"{a} and {b}"
        at = "at every depth" if row["name"] == "ima_0" else "at the same depth"
        text = f"The mean tokens of {kind} {at} have a cosine of {_cosine(row, 'value')}"
        same = {key: row[key] for key in ("name", "statistic", "a", "b")}
        text += _beside(row, "value", None if controls is None else controls.filter(**same))
        few = f" With n = {row['n']} an interval means little." if row["n"] < _FEW else ""
        found.append(Finding(f"{text}.{few}", 90.0 if row["name"] == "ima_same" else 80.0))
    return found


def _drift(tables: Frames) -> list[Finding]:
    drift = tables["drift"]
    rows = drift.filter(gap=drift["gap"].min())
    first, last, both = _side_by_side(rows)
    if first == last:
        return []
    clear = [row for row in both.iter_rows(named=True) if intervals_apart(row, _second(row))]
    slower = sum(row["mean"] > row["mean_b"] for row in clear)
    least = {s: rows.filter(span=s).sort("mean").row(0, named=True) for s in (first, last)}
    text = (
        f"From one state to the next, {first} tokens change less than {last} tokens at {slower} and more at "
        f"{len(clear) - slower} of {both.height} depths (95 % intervals apart); {first} changes most after state "
        f"{least[first]['layer']} (cosine {_cosine(least[first])}), {last} after state {least[last]['layer']} "
        f"(cosine {_cosine(least[last])})."
    )
    return [Finding(text, 85.0)]


def _side_by_side(rows: pl.DataFrame) -> tuple[str, str, pl.DataFrame]:
    """The first and the last span, and the rows of both by layer, columns of the last with `_b` behind their names."""
    spans = in_order(rows, "span")
    a, b = spans[0], spans[-1]
    return a, b, rows.filter(span=a).join(rows.filter(span=b), on="layer", suffix="_b")


def _norms(tables: Frames) -> list[Finding]:
    a, b, both = _side_by_side(tables["norms"].filter(statistic="median"))
    if a == b:
        return []
    ratio = both.with_columns((pl.col("mean") / pl.col("mean_b")).alias("ratio")).sort("layer")
    start, end = ratio.row(0, named=True), ratio.row(-1, named=True)
    text = (
        f"The median norm of {a} tokens is {start['ratio']:.2g} times that of {b} tokens at the embeddings "
        f"({start['mean']:.3g} against {start['mean_b']:.3g}) and {end['ratio']:.2g} times after the last block "
        f"({end['mean']:.3g} against {end['mean_b']:.3g}; n = {start['n']} and {start['n_b']})."
    )
    return [Finding(text, 70.0)]


def _released(rows: pl.DataFrame) -> Finding:
    worst = rows.sort((pl.col("mean") - pl.col("paired")).abs()).row(-1, named=True)
    text = (
        f"As released, the change of {worst['span']} between states {worst['layer']} and "
        f"{worst['layer'] + worst['gap']} reads {worst['mean']:.3f} where comparing each example with itself gives "
        f"{worst['paired']:.3f}: averaging over all pairs of examples takes differences between examples for change "
        f"(n = {worst['n']})."
    )
    return Finding(text, 75.0)


def _cones(tables: Frames) -> list[Finding]:
    """Whether a span is nearer to itself in other examples than to the other span of its own example."""
    rows = tables.get("similarity")
    if rows is None:
        return []
    found = []
    rows = rows.filter(tap="residual", mode="avg")
    alone = rows.filter(pl.col("a") == pl.col("b"), variant="raw")
    for a, b in dict.fromkeys(rows.filter(pl.col("paired")).select("a", "b").iter_rows()):
        cross = rows.filter(a=a, b=b)
        one = cross.filter(paired=True, variant="raw").sort("layer")
        narrower = 0
        for row in one.iter_rows(named=True):
            own = alone.filter(pl.col("a").is_in([a, b]), layer=row["layer"]).to_dicts()
            narrower += bool(own) and all(intervals_apart(o, row) and o["mean"] > row["mean"] for o in own)
        last = one.row(-1, named=True)
        text = (
            f"Cones: at {narrower} of {one.height} depths {a} and {b} are each nearer to themselves in other examples "
            f"than to each other in one (95 % intervals apart); after the last block their cosine is {_cosine(last)}."
        )
        beside = tables.get("similarity_controls")
        if beside is not None:
            beside = beside.filter(tap="residual", mode="avg", variant="centred", a=a, b=b, paired=True)
        found += [Finding(text, 65.0), *_own(cross, beside, a, b)]
    return found


def _own(cross: pl.DataFrame, controls: pl.DataFrame | None, a: str, b: str) -> list[Finding]:
    """Whether, beyond what all examples share, two spans of one example are nearer than those of two examples.

    Attention alone mixes one span into the other, with random weights too: so the controls stand beside it.
    """
    centred = cross.filter(variant="centred")
    both = centred.filter(paired=True).join(centred.filter(paired=False), on="layer", suffix="_b")
    if not both.height:
        return []
    nearer = [r for r in both.to_dicts() if intervals_apart(r, _second(r)) and r["mean"] > r["mean_b"]]
    best = both.with_columns((pl.col("mean") - pl.col("mean_b")).alias("gap")).sort("gap").row(-1, named=True)
    text = (
        f"Beyond what all examples share (each span's mean subtracted), {a} and {b} of one example are nearer than "
        f"those of two at {len(nearer)} of {both.height} depths (95 % intervals apart), most at state {best['layer']}: "
        f"cosine {_cosine(best)} against {_cosine(_second(best))}"
    )
    if controls is not None:
        text += _beside(best, "mean", controls.filter(layer=best["layer"]))
    return [Finding(f"{text}.", 68.0)]


def _weights(tables: Frames) -> list[Finding]:
    """Overlap at half the weights, against the null that it must beat to say anything."""
    rows = tables.get("overlap")
    if rows is None:
        return []
    half = rows.filter(sparsity=0.5, a=rows["a"][0], b=rows["b"][0])
    names = ("iou", "null_permuted", "null_magnitude", "null_random")
    mean = {name: float(half[name].mean() or 0.0) for name in names}
    above = half.filter(pl.col("iou") > pl.max_horizontal("null_permuted", "null_magnitude")).height
    fewest = int(min(half["tokens_a"].min() or 0, half["tokens_b"].min() or 0))
    few = f" The norms rest on as few as {fewest} tokens, which makes masks differ by chance." if fewest < 500 else ""
    ceiling = half["ceiling"].drop_nulls()
    own = f", one span's own halves by {float(ceiling.mean() or 0.0):.2f}" if len(ceiling) else ""
    over = f"{half.height} matrices"
    random = tables.get("overlap_controls")
    if random is not None:
        random = random.filter(sparsity=0.5, a=half["a"][0], b=half["b"][0], control=RANDOM_WEIGHTS)
    beside = f"; random weights give {mean_overlap(random, over)}" if random is not None and random.height else ""
    text = (
        f"With half of the weights left out, the masks of {half['a'][0]} and {half['b'][0]} overlap by "
        f"{mean_overlap(half, over)}, where the weights' magnitude alone accounts for "
        f"{mean['null_magnitude']:.2f}, shuffled norms give {mean['null_permuted']:.2f} and chance "
        f"{mean['null_random']:.2f}{own}; it exceeds the first two in {above} matrices{beside}.{few}"
    )
    return [Finding(text, 60.0), *_released_masks(tables, half)]


def mean_overlap(rows: pl.DataFrame, over: str) -> str:
    """The mean overlap of rows of a table of masks; its interval is as wide as if all matrices were wrong together."""
    known = rows["low"].null_count() == 0
    low, high = (float(rows[name].mean() or 0.0) for name in ("low", "high")) if known else (None, None)
    value = estimate(float(rows["iou"].mean() or 0.0), low, high, rows["n"].min(), digits=2)
    return f"{value}, mean over {over}"


def _released_masks(tables: Frames, half: pl.DataFrame) -> list[Finding]:
    """How far the released form of Wanda's inputs is off."""
    rows = tables.get("overlap_released")
    if rows is None:
        return []
    both = half.join(rows, on=["a", "b", "layer", "matrix", "sparsity"], suffix="_released")
    if not both.height:
        return []
    right, released = float(both["iou"].mean() or 0.0), float(both["iou_released"].mean() or 0.0)
    text = (
        f"As released, with padding seen and counted and either span without the other, the same masks overlap by "
        f"{released:.2f} instead of {right:.2f} (mean over {both.height} matrices; shuffled norms "
        f"{float(both['null_permuted_released'].mean() or 0.0):.2f})."
    )
    return [Finding(text, 58.0)]


def _words(tables: Frames) -> list[Finding]:
    """The nearest words of perceptual tokens after the last block."""
    rows = tables.get("nearest")
    if rows is None or not rows.height:
        return []
    rows = rows.filter(k=1)
    last = rows.filter(layer=rows["layer"].max(), span=rows["span"][0])
    words = ", ".join(
        f"`{r['word'].strip() or r['word']}` ({r['share']:.0%})" for r in last.head(3).iter_rows(named=True)
    )
    text = f"After the last block the most probable words at {last['span'][0]} tokens are {words} (n = {last['n'][0]})."
    return [Finding(text, 30.0)]


def _beside(row: Mapping, column: str, controls: pl.DataFrame | None) -> str:
    """How `row` compares with the same row of each control."""
    if controls is None or not controls.height:
        return "; no control stands beside it"
    found = []
    for other in controls.iter_rows(named=True):
        how = "not clearly apart from"
        if intervals_apart(row, other):
            how = "above" if row[column] > other[column] else "below"
        found.append(f"{how} {_CONTROLS.get(other['control'], other['control'])}: {_cosine(other, column)}")
    return f"; {', '.join(found)}"


def _cosine(row: Mapping, column: str = "mean") -> str:
    return estimate(row[column], row["low"], row["high"], row["n"], digits=3)


def intervals_apart(one: Mapping, other: Mapping) -> bool:
    """Whether the intervals (`low`, `high`) of two rows are known and share nothing."""
    known = None not in (one["low"], other["low"])
    return known and (one["low"] > other["high"] or one["high"] < other["low"])


def _second(row: Mapping) -> dict:
    """Of a row of two joined tables the columns of the second one."""
    return {key: row[f"{key}_b"] for key in ("mean", "low", "high", "n")}
