"""Tuning with a plan in effect: what is trained, what is undone, and what it gives back."""

from dataclasses import replace
from functools import lru_cache

import pytest
import torch
from tests.support.charts import rows
from tests.support.factories import build, example

import chiasm
from chiasm.core.errors import ChiasmError
from chiasm.core.example import Example
from chiasm.interventions.published_skips import short_v
from chiasm.interventions.skips import Skip, SkipPlan
from chiasm.models.encoded import Encoded
from chiasm.models.likelihood import answer_logprobs
from chiasm.models.skipping.apply import skipping
from chiasm.models.skipping.operations import prefill_operations
from chiasm.models.skipping.plans import identity_of, read_plan
from chiasm.models.view import ModelView
from chiasm.training.recovery import trained_while_skipping
from chiasm.training.settings import RecoverySettings

KINDS = ("projector", "lora")


def view_of(dtype: torch.dtype = torch.float32) -> ModelView:
    return ModelView(*build("llava", dtype=dtype), name="small")


@lru_cache
def view() -> ModelView:
    return view_of()


def examples(count: int, first: int = 0) -> list[Example]:
    return [
        replace(example("llava", seed=s), answer=("red", "blue circle")[s % 2]) for s in range(first, first + count)
    ]


def taught(view: ModelView, count: int = 4) -> list[Encoded]:
    return [view.encode(one, answer=one.answer, ends=True) for one in examples(count)]


def plan_of(view: ModelView, *skips: Skip) -> SkipPlan:
    return SkipPlan(name="frozen", model=identity_of(view), skips=skips or (short_v((0, 1, 2)),))


def loss_under(view: ModelView, plan: SkipPlan, encoded: list[Encoded]) -> float:
    with skipping(view, plan, same_weights=False):
        return answer_loss(view, encoded)


def answer_loss(view: ModelView, encoded: list[Encoded]) -> float:
    return -float(torch.cat(answer_logprobs(view, encoded)).mean())


@pytest.mark.parametrize("train", KINDS)
def test_the_loss_under_the_plan_falls_and_every_bit_comes_back(train: str) -> None:
    own, encoded = view(), taught(view())
    before = {name: value.clone() for name, value in own.model.state_dict().items()}
    grads = [p.requires_grad for p in own.model.parameters()]
    plan = plan_of(own)
    start = loss_under(own, plan, encoded)
    settings = RecoverySettings(train=train, steps=12, batch_size=4, learning_rate=1e-2)
    with trained_while_skipping(own, encoded, settings, plan) as handle:
        assert len(handle.losses) == 12
        if train == "projector":  # the adapters train under dropout
            assert handle.losses[0] == pytest.approx(start, abs=1e-5)
        assert loss_under(own, plan, encoded) < start - 0.3
    after = own.model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert [p.requires_grad for p in own.model.parameters()] == grads
    assert not own.is_peft


@pytest.mark.parametrize("train", KINDS)
def test_only_what_was_asked_is_trained_and_stays_when_kept(train: str) -> None:
    own = view_of()
    encoded = taught(own)
    before = {name: value.clone() for name, value in own.model.state_dict().items()}
    with trained_while_skipping(own, encoded, RecoverySettings(train=train, steps=3, learning_rate=1e-2)) as handle:
        inside = answer_loss(own, encoded)
        handle.keep()
    after = own.model.state_dict()
    changed = {name for name in before if not torch.equal(after[name], before[name])}
    layers = {name for name, module in own.model.named_modules() if any(module is layer for layer in own.layers)}
    if train == "projector":
        inside_projector = {id(p) for p in own.projector.parameters()}
        assert changed == {n for n, p in own.model.named_parameters() if id(p) in inside_projector}
    else:
        assert changed
        assert all(any(name.startswith(f"{layer}.") for layer in layers) for name in changed)
        assert all(name.endswith("proj.weight") for name in changed)
    assert answer_loss(own, encoded) == pytest.approx(inside, abs=1e-4)


def test_merged_for_saving_and_undone_all_the_same() -> None:
    own, encoded = view(), taught(view())
    before = {name: value.clone() for name, value in own.model.state_dict().items()}
    with trained_while_skipping(own, encoded, RecoverySettings(train="lora", steps=3, learning_rate=1e-2)) as handle:
        trained = answer_loss(own, encoded)
        handle.merge()
        assert list(own.model.state_dict()) == list(before)
        assert answer_loss(own, encoded) == pytest.approx(trained, abs=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in own.model.state_dict().items())


def test_equal_seeds_train_alike() -> None:
    own, encoded = view(), taught(view())
    losses = []
    for seed in (0, 0, 1):
        with trained_while_skipping(own, encoded, RecoverySettings(steps=3, batch_size=2, seed=seed)) as handle:
            losses.append(handle.losses)
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"train": "tower"}, "there are projector, lora"),
        ({"steps": 0}, "minimum is 1"),
        ({"learning_rate": 0.0}, "nothing would be learned"),
    ],
)
def test_settings_that_make_no_sense(options: dict, told: str) -> None:
    with pytest.raises(ChiasmError, match=told):
        RecoverySettings(**options)


def test_what_cannot_be_trained_is_told() -> None:
    own = view()
    with (
        pytest.raises(ChiasmError, match="without an answer"),
        trained_while_skipping(own, [own.encode(examples(1)[0])], RecoverySettings()),
    ):
        pass
    half = view_of(torch.float16)
    with pytest.raises(ChiasmError, match="float16"), trained_while_skipping(half, taught(half, 1), RecoverySettings()):
        pass


def test_recover_measures_beside_its_control_and_keeps_the_model(tmp_path) -> None:
    own = view_of()
    plan = plan_of(own)
    found = chiasm.recover(
        own, plan, examples(6), train_on=examples(6, first=50), steps=10, batch_size=3, rate=1e-2,
        max_new_tokens=2, out=tmp_path / "trained", device="cpu",
    )  # fmt: skip
    cells = {(row["trained"], row["plan"]): row for row in found.summary.iter_rows(named=True)}
    assert set(cells) == {(t, p) for t in ("none", "without-plan", "with-plan") for p in ("", "frozen")}
    assert cells["none", ""]["loss"] == 0
    assert cells["with-plan", "frozen"]["logprob_loss"] < cells["none", "frozen"]["logprob_loss"]
    assert cells["with-plan", "frozen"]["operations_share"] < 1
    again = chiasm.load(tmp_path / "trained", device="cpu")
    assert read_plan(tmp_path / "trained").model == identity_of(again) == identity_of(own)
    assert identity_of(own) != plan.model


def test_operations_are_those_of_the_prompts_that_are_answered() -> None:
    """A longer instruction leaves a smaller share of the work to the tokens of the image."""
    own = view_of()
    options = {"train_on": examples(2, first=50), "steps": 1, "batch_size": 2, "max_new_tokens": 1, "controls": False}
    plan, judged = plan_of(own), examples(3)
    for instruction in ("", "Answer in a single word or phrase. " * 8):
        inputs = own.encode(judged[0], instruction=instruction).inputs
        expected = prefill_operations(own, inputs, plan).total / prefill_operations(own, inputs).total
        found = chiasm.recover(own, plan, judged, instruction=instruction, **options).summary
        assert found.filter(plan="frozen")["operations_share"].unique().to_list() == pytest.approx([expected])
        plan = plan_of(own)  # the model is another one now


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": "tower"}, "train='tower': there are projector, lora"),
        ({"steps": 0}, "steps=0: it must be >= 1"),
        ({"rate": 0.0}, "rate=0.0: it must be > 0"),
        ({"split": "test"}, "split='test': there are heldout, train"),
    ],
)
def test_options_of_recover_are_checked_before_anything_is_read(options: dict, message: str) -> None:
    with pytest.raises(ChiasmError, match=message):
        chiasm.recover("tiny", "no-such-plan.json", **options)


def test_recovery_is_not_judged_on_what_it_was_trained_on() -> None:
    own = view()
    with pytest.raises(ChiasmError, match="train_on"):
        chiasm.recover(own, plan_of(own), examples(4), device="cpu")
    with pytest.raises(ChiasmError, match="share"):
        chiasm.recover(own, plan_of(own), examples(4), train_on=examples(4), device="cpu")


def test_a_skipping_run_trains_with_a_plan(tmp_path) -> None:
    own, out = view(), tmp_path / "run"
    before = identity_of(own)
    options = {"calibration": 4, "repeats": 1, "draws": 1, "max_new_tokens": 2, "batch_size": 2, "device": "cpu"}
    run = chiasm.skip(
        own, examples(8), **options, train_with_plan="lora", train_plan="visual-ffn-all", train_steps=2,
        train_on=examples(4, first=50), out=out,
    )  # fmt: skip
    assert run.table("recovery").height == 6
    assert set(run.table("recovered")["plan"]) == {"", "visual-ffn-all"}
    assert any("Training with the plan in effect" in str(finding) for finding in run.findings)
    assert "recovery" in run.charts
    assert rows(run.chart("recovery"), "row", "mark").height == 6
    assert read_plan(out / "recovered").model == identity_of(chiasm.load(out / "recovered", device="cpu"))
    assert identity_of(own) == before
    with pytest.raises(ChiasmError, match="this run has"):
        chiasm.skip(own, examples(8), **options, train_with_plan="projector", train_plan="nothing", train_steps=1)
