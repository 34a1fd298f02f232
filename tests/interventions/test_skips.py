import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiasm.core.errors import ChiasmError
from chiasm.interventions.published_skips import companion_layers, fast_v, parallel_blocks, random_drop, visual_ffn
from chiasm.interventions.skips import ModelIdentity, Skip, SkipPlan

MODEL = ModelIdentity(model_type="llava", layers=8, width=32, weights="0123456789abcdef")


def skip(**changes) -> Skip:
    return Skip(**({"part": "ffn", "span": "image", "layers": (1, 2)} | changes))


@pytest.mark.parametrize(
    ("start", "interval", "count", "first"), [(0, 2, 15, 2), (0, 4, 7, 4), (4, 2, 13, 6), (0, 1, 30, 1)]
)
def test_the_companion_papers_rule(start: int, interval: int, count: int, first: int) -> None:
    found = companion_layers(32, start=start, interval=interval)
    assert (len(found), found[0]) == (count, first)
    assert all(start < layer < 31 and layer % interval == 0 for layer in found)


def test_a_rule_that_skips_nothing_is_refused() -> None:
    with pytest.raises(ChiasmError, match="no layer fits"):
        companion_layers(8, start=7)
    with pytest.raises(ChiasmError, match="least is 1"):
        companion_layers(8, interval=0)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"part": "mlp"}, "there are ffn, attention"),
        ({"span": "picture"}, "there are image, video, audio, text, all"),
        ({"choice": "best", "share": 0.5}, "there are all, random"),
        ({"phase": "never"}, "there are prefill, decode, both"),
        ({"layers": ()}, "nothing to leave out"),
        ({"layers": (2, 1)}, "do not ascend"),
        ({"layers": (1, 1)}, "do not ascend"),
        ({"layers": (-1,)}, "do not ascend"),
        ({"share": 0}, "0 < share <= 1"),
        ({"share": 1.5}, "0 < share <= 1"),
        ({"share": 0.5}, "a choice means less"),
        ({"choice": "random"}, "a choice means less"),
        ({"choice": "least-change", "share": 0.5, "layers": (0, 1)}, "looks at the layer before"),
        ({"choice": "least-attention", "share": 0.5, "phase": "both"}, "looks at the layer before"),
        ({"part": "tokens", "layers": (1, 3)}, "does not come back"),
        ({"part": "tokens", "layers": (0, 1)}, "after at least one layer"),
        ({"part": "tokens", "span": "text"}, "perceptual tokens"),
        ({"part": "parallel"}, "parallel for"),
        ({"part": "parallel-blocks", "span": "all", "layers": (1, 2)}, "takes the layer behind it along"),
        ({"form": "original"}, "there are corrected, released"),
        ({"part": "attention", "form": "released"}, "is unknown"),
        ({"part": "block", "form": "released"}, "lends its keys"),
        ({"part": "block", "form": "released", "span": "all", "layers": (0,)}, "lends its keys"),
    ],
)
def test_contradictions_are_refused(changes: dict, told: str) -> None:
    with pytest.raises(ChiasmError, match=told):
        skip(**changes)


@pytest.mark.parametrize(
    ("skips", "told"),
    [
        ((skip(layers=(8,)),), "layers 0 to 7"),
        ((skip(part="tokens", layers=(2, 3)),), "come back at layer 4"),
        ((skip(part="block", span="all", layers=tuple(range(8))),), "leaves no layer to compute in prefill"),
        (
            tuple(skip(part=part, span="all", layers=tuple(range(8))) for part in ("ffn", "attention")),
            "leaves no layer to compute in prefill",
        ),
        (
            (
                skip(part="block", span="all", layers=tuple(range(4)), phase="both"),
                skip(part="block", span="all", layers=tuple(range(4, 8)), phase="decode"),
            ),
            "leaves no layer to compute in decode",
        ),
        ((random_drop(8, after=1), fast_v(8, after=3)), "of which some are gone"),
        ((skip(part="parallel-blocks", span="all", layers=(3, 7)),), "none behind it"),
        ((parallel_blocks(8), visual_ffn((5,))), "layer 5 runs beside another"),
    ],
)
def test_plans_that_cannot_be_are_refused(skips: tuple[Skip, ...], told: str) -> None:
    with pytest.raises(ChiasmError, match=told):
        SkipPlan(name="p", model=MODEL, skips=skips)


@given(
    layers=st.sets(st.integers(1, 7), min_size=1),
    share=st.sampled_from([0.1, 0.5, 1.0]),
    seed=st.integers(0, 2**31),
    loss=st.floats(-1, 1),
)
def test_json_gives_an_equal_plan_back(layers: set[int], share: float, seed: int, loss: float) -> None:
    choice = "all" if share == 1 else "random"
    skips = (skip(layers=tuple(sorted(layers)), share=share, choice=choice, seed=seed), visual_ffn(sorted(layers)))
    plan = SkipPlan(name="p", model=MODEL, skips=skips, measured={"loss": loss, "n": 3, "from": "scenes"})
    assert SkipPlan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize("damage", ["", "[]", "{", '{"format": 99}', "null"])
def test_text_that_is_no_plan_is_told(damage: str) -> None:
    with pytest.raises(ChiasmError, match="read a plan"):
        SkipPlan.from_json(damage)


def test_an_unknown_field_is_told() -> None:
    body = json.loads(SkipPlan(name="p", model=MODEL, skips=(skip(),)).to_json())
    body["skips"][0]["depth"] = 3
    with pytest.raises(ChiasmError, match="depth"):
        SkipPlan.from_json(json.dumps(body))
