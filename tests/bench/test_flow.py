"""The benchmark measures what it says: bounds from first principles, executors that agree, tables that add up."""

import importlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from bench.bound import flops_bound, flops_clean, rows_bound
from bench.install_peers import PEERS
from bench.measure import Seconds, Summary
from bench.report import clock_of, passes
from bench.shapes import SHAPES, build, processor, prompts, save, spans_of
from bench.worker import SIX, THREE, TO_LAST, Request, measure, variants_of
from torch.utils.flop_counter import FlopCounterMode

from bench import flow
from chiasm.interventions import AttentionKnockout, BlockedAttention, Variant, Window
from chiasm.models.executors.jobs import Job, Readout
from chiasm.models.executors.reference import ReferenceExecutor
from chiasm.models.view import ModelView

MINI = SHAPES["mini"]


def request(**changes: object) -> Request:
    return Request(**{"name": "a name", "shape": "mini", "cuts": THREE, "repeats": 2} | changes)


def test_the_spans_of_a_prompt_partition_it_and_hold_the_image_tokens() -> None:
    spans = spans_of(MINI)
    assert sum(len(p) for p in spans.top_level().values()) == MINI.length
    ids = prompts(MINI)[0].input_ids[0]
    assert (ids == MINI.image_token).nonzero()[:, 0].tolist() == spans["image"].tolist()
    assert sorted([*spans["image.object"], *spans["image.other"]]) == spans["image"].tolist()


def test_questions_share_everything_before_the_question_and_nothing_after() -> None:
    first, second = prompts(MINI, 2)
    start = int(spans_of(MINI)["question"][0])
    assert torch.equal(first.input_ids[:, :start], second.input_ids[:, :start])
    assert first.input_ids[0, start] != second.input_ids[0, start]
    assert first.inputs["pixel_values"] is second.inputs["pixel_values"]


def test_the_operation_bound_is_the_number_counted_by_hand() -> None:
    small = SHAPES["small"]
    tail = small.length - int(spans_of(small)["question"][0])
    depths = sum(24 - max(0, centre - 4) for centre in range(24))
    clean = small.length * 24
    three = rows_bound(small, variants_of(request(shape="small"), small))
    six = rows_bound(small, variants_of(request(shape="small", cuts=SIX), small))
    assert three == pytest.approx(1 + depths * (tail + 2) / clean)
    assert six == pytest.approx(1 + depths * (3 * tail + 3) / clean)


def test_what_cannot_reach_the_last_token_costs_nothing() -> None:
    last_layer = Window(MINI.layers - 1, MINI.layers, MINI.layers - 1)
    variant = Variant("v", (AttentionKnockout.parse("image->question").on(spans_of(MINI), last_layer),))
    assert rows_bound(MINI, [variant]) == 1
    assert flops_bound(MINI, [variant]) == 1


def test_a_question_more_adds_its_own_rows_only() -> None:
    shared = int(spans_of(MINI)["question"][0])
    noop = Variant("v", (BlockedAttention(Window(0, 3, 1), (MINI.length - 1,), (0,)),))
    one, two = (rows_bound(MINI, [noop], n, shared) for n in (1, 2))
    assert two - one == pytest.approx((MINI.length - shared + 1) / MINI.length)


@torch.no_grad()
def test_the_flops_of_a_clean_pass_are_those_that_torch_counts() -> None:
    model = build(MINI)
    model.set_attn_implementation("eager")  # sdpa on CPUs is not in torch's tables
    with FlopCounterMode(display=False) as counter:
        model(**prompts(MINI)[0].inputs, use_cache=False, logits_to_keep=1)
    # Eager attention computes the full square; the bound counts the causal half. The rotary table is no model FLOP.
    square = MINI.layers * 4 * MINI.width * (MINI.length**2 - MINI.length * (MINI.length + 1) / 2)
    assert counter.get_total_flops() == pytest.approx(flops_clean(MINI) + square, rel=1e-3)


@pytest.mark.parametrize(
    "changes",
    [{}, {"cuts": SIX}, {"questions": 3}, {"cuts": TO_LAST, "window": 0}, {"memory": "100MB"}],
    ids=["three", "six", "questions", "all windows", "budget"],
)
def test_the_sweep_that_is_timed_agrees_with_plain_forwards(changes: dict) -> None:
    found = measure(request(check=True, **changes))
    assert found.difference is not None
    assert found.difference < 1e-4 < found.effect
    assert len(found.clean) == len(found.sweep) + 1 == 3
    assert found.rows_bound > 1
    assert found.flops_bound > 1
    assert min(found.clean_peak, found.sweep_peak) > 0


def test_the_reference_is_extrapolated_from_the_passes_it_made() -> None:
    found = measure(request(executor="reference", subset=2))
    assert found.passes == 3
    one_pass = Summary.of(
        [2 * s.cpu / (a.cpu + b.cpu) / 3 for s, a, b in zip(found.sweep, found.clean, found.clean[1:])]
    )
    assert passes(found, "cpu").median == pytest.approx(one_pass.median * (found.variants + 1))


def test_ratios_are_against_the_clean_passes_on_both_sides() -> None:
    times = {"clean": [Seconds(1.0, 2.0), Seconds(3.0, 4.0)], "sweep": [Seconds(5.0, 9.0)]}
    found = replace(measure(request(repeats=1)), **times)
    assert passes(found, "cpu").median == 2.5
    assert passes(found, "wall").median == 3.0


def test_time_is_cpu_time_only_where_one_thread_computes() -> None:
    assert clock_of(request()) == "cpu"
    assert clock_of(request(threads=2)) == clock_of(request(device="cuda")) == "wall"


def test_a_saved_model_computes_what_the_built_one_does(tmp_path: Path) -> None:
    save(MINI, tmp_path)
    saved, built = measure(request(model=str(tmp_path))), measure(request())
    assert saved.effect == pytest.approx(built.effect)


def test_half_precision_is_built_where_it_is_used() -> None:
    model = build(MINI, "cpu", torch.bfloat16)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert torch.get_default_dtype() == torch.float32


def test_the_processor_gives_the_image_as_many_tokens_as_the_shape() -> None:
    assert processor(MINI).tokenizer.convert_tokens_to_ids("<image>") == MINI.image_token


@torch.no_grad()
def test_plain_hooks_do_what_the_reference_executor_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(flow.__file__).parent / "peers"))
    harness, hooks = importlib.import_module("harness"), importlib.import_module("with_hooks")
    model = build(MINI)
    encoded, window = prompts(MINI)[0], Window(0, 2, 1)
    knock = AttentionKnockout.parse("image->last").on(encoded.spans, window)
    cut = harness.Cut(torch.tensor(knock.queries), torch.tensor(knock.keys), [0, 1])
    ours = hooks.Hooks(model, "").forward(encoded.inputs, cut).log_softmax(-1)
    job = Job(encoded, (Variant("v", (knock,)),), Readout(full=True))
    expected = ReferenceExecutor().run(ModelView(model, None), [job])[0].full
    assert (ours - expected[1]).abs().max() < 1e-6
    assert (ours - expected[0]).abs().max() > 1e-3


def test_every_peer_has_its_script() -> None:
    folder = Path(flow.__file__).parent / "peers"
    assert {p.stem for p in folder.glob("with_*.py")} == {f"with_{name}" for name in ("hooks", *PEERS)}


def test_the_plan_covers_what_the_documentation_promises_and_quick_is_a_part_of_it() -> None:
    every = list(flow.plan(request()))
    assert {r.questions for r in every} == {1, 2, 4, 8}
    assert {r.memory for r in every} == {None, "100MB", "500MB", "2GB"}
    assert {r.window for r in every} == {0, 1, 9}
    assert {r.name for r in flow.plan(request(), quick=True)} < {r.name for r in every}


def test_the_results_hold_every_time_and_the_tables_every_configuration(tmp_path: Path) -> None:
    found = [measure(r) for r in flow.plan(request(repeats=1), quick=True)]
    flow.write(tmp_path, {"processor": "one"}, found, [])
    raw = json.loads((tmp_path / "flow.json").read_text())
    assert [len(one["sweep"]) for one in raw["sweeps"]] == [1, 1, 1]
    text = (tmp_path / "flow.md").read_text()
    assert all(f"| {one.request.name} |" in text for one in found)
    assert "extrapolated" in text
    assert flow.kept(tmp_path / "flow.json") == (found, [])


def test_nothing_is_kept_from_a_run_that_never_was(tmp_path: Path) -> None:
    assert flow.kept(tmp_path / "flow.json") == ([], [])
