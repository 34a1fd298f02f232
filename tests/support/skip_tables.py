"""Tables as a skipping study writes them, with losses, savings and clusters planted at known plans."""

import numpy as np
import polars as pl

from chiasm.studies.skip.tables import NONE, RANDOM_LAYERS, SEARCH


def verdicts(losses, n=200, seed=0, kinds=None, per=1, shift=None):
    """Answers under `losses`: by plan, the share of answers that turn wrong at random; a negative one turns right.

    `shift`: by plan, the log-probability (nat) lost by every answer besides. `per`: questions on one image, which turn
    together. All of `none` are right but every tenth.
    """
    rng, rows = np.random.default_rng(seed), []
    plain = np.arange(n) % 10 > 0
    level = rng.normal(-1, 0.5, n)
    for plan, loss in {NONE: 0.0, **losses}.items():
        drawn = np.repeat(rng.random(-(-n // per)), per)[:n]
        right = plain & (drawn >= loss) if loss >= 0 else plain | (drawn < -loss)
        logprob = level - (shift or {}).get(plan, 0.0) - (0.02 * rng.random(n) if plan != NONE else 0.0)
        kind = NONE if plan == NONE else (kinds or {}).get(plan, RANDOM_LAYERS if plan.startswith("random") else SEARCH)
        rows += [
            {"example_id": f"e{k:04}", "type": "ab"[k % 2], "plan": plan, "kind": kind, "answer": f"a{k % 4}"}
            | {"generated": "x", "correct": bool(right[k]), "logprob": float(logprob[k])}
            for k in range(n)
        ]
    return pl.DataFrame(rows)


def plans(shares, max_loss=0.02):
    """The columns of the table `plans` that decide; `shares`: operations by plan."""
    return pl.DataFrame(
        [
            {"plan": plan, "operations_share": share, "skipped": f"work of {plan}", "max_loss": max_loss}
            for plan, share in {NONE: 1.0, **shares}.items()
        ]
    )


def timings(ratios, repeats=9, noise=0.01, seed=0):
    """`ratios`: by plan, time of one prompt and of a batch as shares of the plain model's."""
    rng, rows = np.random.default_rng(seed), []
    for plan, both in {NONE: (1.0, 1.0), **ratios}.items():
        for repeat in range(repeats):
            one, batch = (ratio * np.exp(noise * rng.normal()) for ratio in both)
            shares = {"prefill_share": float(one), "batch_share": float(batch)}
            rows.append({"plan": plan, "repeat": repeat, "prefill_seconds": float(one)} | shares)
    return pl.DataFrame(rows)


def modalities(n=100, image=0.01, text=0.2, spread=0.1, seed=0, layers=("half", "all")):
    """What leaving out the feed-forward costs by span, in nat."""
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        [
            {"example_id": f"e{k:04}", "type": "a", "layers": where, "span": span, "tokens": 17, "kl": 0.1}
            | {"logprob_clean": -1.0, "logprob_skip": float(-1 - loss - spread * rng.normal())}
            for k in range(n)
            for where in layers
            for span, loss in (("image", image), ("text", text))
        ]
    )


def contributions(n=40, losses=((1.5, 0.001), (0.002, 0.001)), seed=0):
    """Divergences by part (`ffn`, `attention`) and layer."""
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        [
            {"example_id": f"c{k:03}", "type": "a", "layer": layer, "part": part}
            | {"kl": float(mean * rng.gamma(4, 0.25)), "logprob_clean": 0.0, "logprob_skip": 0.0}
            for k in range(n)
            for part, means in zip(("ffn", "attention"), losses, strict=True)
            for layer, mean in enumerate(means)
        ]
    )


def recovered(before, plain, trained, n=200, seed=0, controls=True):
    """Right answers (shares) under the plan `half`: untrained, trained without it, and with it; 95 % untouched."""
    rng = np.random.default_rng(seed)
    drawn, rows = rng.random(n), []
    cells = {("none", ""): 0.95, ("none", "half"): before, ("with-plan", ""): 0.95, ("with-plan", "half"): trained}
    if controls:
        cells |= {("without-plan", ""): 0.95, ("without-plan", "half"): plain}
    for (name, plan), share in cells.items():
        rows += [
            {"example_id": f"e{k:04}", "type": "a", "trained": name, "plan": plan, "answer": "x", "generated": "x"}
            | {"correct": bool(drawn[k] < share), "logprob": -1.0}
            for k in range(n)
        ]
    return pl.DataFrame(rows)
