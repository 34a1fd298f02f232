import json
from dataclasses import replace
from functools import lru_cache

import numpy as np
import polars as pl
import pytest
import torch
from tests.support.factories import build, example, picture
from tests.support.runs import view_of

import chiasm
from chiasm.core.errors import ChiasmError
from chiasm.core.example import Example
from chiasm.interventions import Variant, Window, ZeroedBranch
from chiasm.interventions.skips import SkipPlan
from chiasm.models.encoded import Encoded
from chiasm.models.executors.jobs import Job
from chiasm.models.executors.reference import ReferenceExecutor
from chiasm.models.generation import generate
from chiasm.models.skipping.operations import prefill_operations
from chiasm.models.skipping.plans import identity_of, read_plan
from chiasm.models.view import ModelView
from chiasm.results.charts.files import specification, svg
from chiasm.runners import driver
from chiasm.studies.skip import run as skip_study
from chiasm.studies.skip.contributions import contribution_job, price, rows_of
from chiasm.studies.skip.search import SEARCHED, as_skips, candidates, in_words
from chiasm.studies.skip.spec import SkipSpec
from chiasm.studies.skip.tables import NONE, PEERS, SEARCH

LAYERS = 4
OPTIONS = {"calibration": 4, "repeats": 1, "draws": 1, "max_new_tokens": 2, "batch_size": 2, "device": "cpu"}


def examples(count: int = 8, family: str = "llava") -> list[Example]:
    return [
        replace(example(family, seed=s), answer=("red", "blue circle")[s % 2], type="ab"[s % 2]) for s in range(count)
    ]


@lru_cache
def view() -> ModelView:
    return ModelView(*build("llava"), name="small")


@lru_cache
def finished() -> "chiasm.Run":
    return chiasm.skip(view(), examples(), **OPTIONS)


def own_answer(one: Example) -> Encoded:
    [answer] = generate(view(), [view().encode(one)], 2)
    return view().encode(one, answer=answer.text)


def test_contributions_are_those_of_zeroed_branches() -> None:
    run = finished()
    rows = run.table("contributions")
    assert rows.group_by("part").len()["len"].to_list() == [4 * LAYERS] * 3
    assert (rows["kl"] >= -1e-6).all()
    wanted = rows.row(0, named=True)
    one = next(e for e in examples() if e.id == wanted["example_id"])
    forced = own_answer(one)
    job = contribution_job(forced, LAYERS)
    [reference] = ReferenceExecutor().run(view(), [job])
    assert len(job.readout.positions) == len(forced.answer_tokens)
    for k, variant in enumerate(job.variants):
        part, layer = variant.name.split(":")
        own = rows.filter(pl.col("example_id") == one.id, pl.col("part") == part, pl.col("layer") == int(layer)).row(
            0, named=True
        )
        assert own["logprob_skip"] == pytest.approx(float(reference.logprobs[k].mean()), abs=1e-4)
        clean, changed = reference.full[0].double(), reference.full[1 + k].double()
        divergence = float((clean.exp() * (clean - changed)).sum(-1).mean())
        assert own["kl"] == pytest.approx(divergence, abs=1e-4)
    # The last layer's image rows are read by nobody.
    assert rows.filter(pl.col("layer") == LAYERS - 1)["kl"].abs().max() == 0
    assert rows.filter(pl.col("layer") == 0)["kl"].max() > 1e-3


def test_plans_are_verified_on_examples_that_were_not_measured_on() -> None:
    run = finished()
    plans, verdicts = run.table("plans"), run.table("verdicts")
    measured = set(run.table("contributions")["example_id"])
    assert measured
    assert not measured & set(verdicts["example_id"])
    assert set(verdicts["plan"]) == set(plans["plan"])
    assert verdicts.group_by("plan").len()["len"].unique().to_list() == [4]
    assert set(plans["kind"]) >= {NONE, SEARCH, *PEERS}
    none = plans.filter(pl.col("plan") == NONE).row(0, named=True)
    assert (none["operations_share"], none["loss"], none["logprob_loss"]) == (1, 0, 0)
    # Two equal calls are timed as any plan is, so that its ratio is their noise and not 1.
    assert none["prefill_share"] != 1
    # A plan's time is one number, whoever states it: table, plan and sentence.
    times = run.claims.filter(pl.col("claim").str.contains(r"^time-\d"))
    assert len(times) > 2
    for claim in times.iter_rows(named=True):
        row = plans.filter(pl.col("plan") == claim["about"]).row(0, named=True)
        name = "prefill_share" if claim["where"] == "one prompt" else "batch_share"
        assert 100 * (row[name] - 1) == pytest.approx(claim["effect"])
        assert (row[f"{name}_low"] is None) == (claim["low"] is None)
        kept = json.loads((run.path / "plans" / f"{claim['about']}.json").read_text())
        assert kept["measured"][name] == row[name]
    assert (plans["operations_share"] <= 1).all()
    assert (plans["prefill_seconds"] > 0).all()
    assert (plans["peak_bytes"] > 1000).all()
    assert plans["recommended"].sum() == 1
    assert (plans["score_low"] <= plans["score"]).all()
    scores = verdicts.group_by("plan").agg(pl.col("correct").mean()).sort("plan")
    assert scores["correct"].to_list() == plans.sort("plan")["score"].to_list()


def test_a_verdict_is_what_the_plan_gives_when_applied() -> None:
    run = finished()
    plan = read_plan(run.path / "plans" / "visual-ffn-all.json")
    row = run.table("verdicts").filter(pl.col("plan") == plan.name).row(0, named=True)
    one = next(e for e in examples() if e.id == row["example_id"])
    forced = own_answer(one)
    image = tuple(int(p) for p in forced.spans["image"])
    change = Variant("all", (ZeroedBranch(Window(0, LAYERS, 0), "mlp", image),))
    job = contribution_job(forced, LAYERS)
    [outcome] = ReferenceExecutor().run(view(), [Job(forced, (change,), job.readout)])
    assert row["logprob"] == pytest.approx(float(outcome.logprobs[0].sum()), abs=1e-4)
    inputs = view().encode(one).inputs
    before = view().model(**inputs).logits
    applied = chiasm.apply(view(), run.path / "plans" / "visual-ffn-all.json")
    assert applied is view().model
    try:
        made = applied.generate(**inputs, max_new_tokens=2, do_sample=False, pad_token_id=0)
        text = view().tokenizer.decode(made[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip()
        assert text == row["generated"]
    finally:
        chiasm.remove(view())
    assert torch.equal(view().model(**inputs).logits, before)


def test_the_run_reports_and_draws() -> None:
    run = finished()
    assert len(run.findings) == 3
    assert any("of right answers" in finding for finding in run.findings)
    assert set(run.claims["verdict"]) <= {"established", "practically none", "not established", "uncontrolled"}
    for name in ("skip", "contributions"):
        assert svg(specification(run.chart(name))).startswith("<svg")
    page = run.report().read_text()
    assert "chiasm.skip(" in page
    assert "calibration=4" in page
    body = json.loads((run.path / "plan.json").read_text())
    assert body["name"] == run.table("plans").filter(pl.col("recommended"))["plan"][0]
    assert not list((run.path / "plans").glob("random-[0-9]*.json"))
    assert (run.path / "plans" / "short-v.json").exists()


@pytest.mark.heavy
def test_half_precision_is_timed_as_served_and_judged_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    half, timed, plain = ModelView(*build("llava", dtype=torch.bfloat16), name="half"), [], skip_study.costs

    def costs(view, *given):
        timed.append(view.precision)
        return plain(view, *given)

    monkeypatch.setattr(skip_study, "costs", costs)
    run = chiasm.skip(half, examples(), **OPTIONS)
    assert timed == [half.as_served().precision]
    page = run.report().read_text()
    assert "Times and memory are of the model as it is served, in bfloat16; losses are computed in float32." in page
    assert "rounding to half precision is in every number" not in page


def test_claims_and_plans_say_the_same() -> None:
    run = finished()
    tables = {name: run.table(name) for name in run.tables if name != "claims"}
    claims = chiasm.claims("skip", tables, seed=0)
    assert claims.equals(run.claims)
    plans = run.table("plans")
    own = claims.filter(pl.col("claim").str.starts_with("recommended"))
    assert own["about"].to_list() == plans.filter(pl.col("recommended"))["plan"].to_list()
    bounds = dict(claims.filter(pl.col("claim").str.starts_with("kept")).select("about", "high").iter_rows())
    known = dict(plans.drop_nulls("loss_bound").select("plan", "loss_bound").iter_rows())
    assert known == {name: pytest.approx(high / 100) for name, high in bounds.items()}
    timings = run.table("timings")
    assert set(timings["plan"]) == set(plans["plan"])
    assert run.table("modalities")["tokens"].min() > 0


@pytest.mark.heavy
def test_an_interrupted_run_goes_on(tmp_path, monkeypatch) -> None:
    data, out = examples(), tmp_path / "run"
    calls = {"left": 3}
    record = driver._recorded

    def stopping(*args):
        calls["left"] -= 1
        if calls["left"] < 0:
            raise KeyboardInterrupt
        record(*args)

    monkeypatch.setattr(driver, "_recorded", stopping)
    with pytest.raises(KeyboardInterrupt):
        chiasm.skip(view(), data, **OPTIONS, out=out)
    unfinished = chiasm.open(out)
    assert set(unfinished.tables) == {"examples", "contributions", "verdicts", "modalities"}
    assert "not finished" in unfinished.findings[0]
    unfinished.report()
    monkeypatch.setattr(driver, "_recorded", record)
    run = chiasm.skip(view(), data, **OPTIONS, out=out, resume=True)
    for name in ("contributions", "verdicts"):
        assert run.table(name).equals(finished().table(name))


def operations(plan: SkipPlan) -> float:
    """Of a typical prompt under `plan`, as a share of the plain model's."""
    inputs = view().encode(examples()[0]).inputs
    return prefill_operations(view(), inputs, plan).total / prefill_operations(view(), inputs).total


def proposed(losses: dict[tuple[str, int], float], **options: object) -> dict[str, SkipPlan]:
    spec, inputs = SkipSpec(model="m", data="d", draws=2, **options), view().encode(examples()[0]).inputs
    found = candidates(spec, view(), identity_of(view()), losses, inputs)
    return {one.plan.name: one.plan for one in found}


def test_the_search_takes_the_cheapest_loss_first_and_meets_every_budget() -> None:
    losses = {(part, layer): 10.0 - layer for part in (*SEARCHED, "block") for layer in range(LAYERS)}
    losses[("attention", 0)] = 1e-9
    budgets = (0.95, 0.88, 0.82)
    found = proposed(losses, budgets=budgets)
    own = {name: plan for name, plan in found.items() if name.startswith("search-")}
    shares = [operations(plan) for plan in own.values()]
    assert len(own) == 3
    assert all(share <= budget for share, budget in zip(shares, budgets, strict=True))
    first = next(iter(own.values()))
    assert any(s.part in ("attention", "block") and 0 in s.layers for s in first.skips)
    piece = max(1 - operations(replace(first, skips=as_skips([(part, 0)]))) for part in SEARCHED)
    assert all(share > budget - piece for share, budget in zip(shares, budgets, strict=True)), "no more than needed"
    for name, plan in own.items():
        random = [one for other, one in found.items() if other.startswith(name.replace("search", "random") + "-")]
        assert len(random) == 2
        # As many operations up to one piece of one layer.
        assert all(abs(operations(plan) - operations(one)) <= piece for one in random)


def test_without_budgets_the_search_spends_the_loss_allowed() -> None:
    losses = {(part, layer): 0.004 for part in (*SEARCHED, "block") for layer in range(LAYERS)}

    def pieces(**options: object) -> list[int]:
        counts = {"block": 2, "ffn": 1, "attention": 1}
        own = [plan for name, plan in proposed(losses, **options).items() if name.startswith("search-")]
        return sorted(sum(counts[s.part] * len(s.layers) for s in plan.skips) for plan in own)

    # Steps of a quarter (which takes one piece at least), a half, all and twice of what may be lost.
    assert pieces(max_loss=0.008) == [1, 2, 4]
    assert pieces(max_loss=0.016) == [1, 2, 4, 8]
    assert pieces(max_loss=0.0) == [1]


def test_skips_join_where_a_layer_loses_both_parts() -> None:
    parts = {s.part: s.layers for s in as_skips([("ffn", 0), ("ffn", 2), ("attention", 2), ("attention", 3)])}
    assert parts == {"ffn": (0,), "attention": (3,), "block": (2,)}


def test_plans_in_words() -> None:
    plan = replace(read_plan(finished().path / "plans" / "fast-v-50.json"))
    assert in_words(plan) == "tokens of 50% of image tokens (least-attention) in layers 2-3"


def test_the_price_is_logged_first(caplog) -> None:
    caplog.set_level("INFO", logger="chiasm")
    spec = SkipSpec(model="m", data="d", draws=1)
    data = examples()
    found = price(spec, view(), data[:4], data[4:])
    assert found.variants == 3 * LAYERS
    everything = finished().table("plans")
    full = price(SkipSpec(model="m", data="d", draws=OPTIONS["draws"]), view(), data[:4], data[4:])
    assert full.plans - everything.height >= 0  # proposals that leave out the same are one
    assert 1 < found.passes < 1 + 3 * LAYERS
    with pytest.raises(ChiasmError):
        chiasm.skip(view(), [data[0]])
    chiasm.skip(view(), data, **OPTIONS | {"peers": False, "controls": False})
    assert caplog.messages[0].startswith("Price: 4 examples x 12 variants")


@pytest.mark.heavy
@pytest.mark.parametrize("span", ["text", "all"])
def test_work_on_other_tokens_is_left_out(span: str) -> None:
    model, data = view_of("qwen2_vl"), examples(6, "qwen2_vl")
    run = chiasm.skip(model, data, **OPTIONS | {"calibration": 2, "controls": False}, span=span)
    name = run.table("plans").filter(pl.col("kind") == SEARCH)["plan"][0]
    plan = read_plan(run.path / "plans" / f"{name}.json")
    assert {(skip.span, skip.phase) for skip in plan.skips} == {(span, "both")}
    rows = run.table("verdicts").filter(pl.col("plan") == plan.name)
    one = next(e for e in data if e.id == rows["example_id"][0])
    # What is verified is what zeroing the branches of these rows gives, the answer's own among them where it is text.
    forced = model.encode(one, answer=generate(model, [model.encode(one)], 2)[0].text)
    job = contribution_job(forced, model.n_layers, span)
    zeros = tuple(
        ZeroedBranch(Window(layer, layer + 1, layer), part, rows_of(forced, span))
        for skip in plan.skips
        for layer in skip.layers
        for part in {"ffn": ("mlp",), "attention": ("attention",), "block": ("attention", "mlp")}[skip.part]
    )
    [outcome] = ReferenceExecutor().run(model, [Job(forced, (Variant("plan", zeros),), job.readout)])
    assert rows["logprob"][0] == pytest.approx(float(outcome.logprobs[0].sum()), abs=1e-4)
    assert f"{span} tokens" in run.report().read_text()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"span": "smell"}, "span"),
        ({"max_loss": 1.0}, "max-loss"),
        ({"max_loss": -0.1}, "max-loss"),
        ({"calibration": 0}, "calibration"),
        ({"budgets": (1.0,)}, "budget"),
        ({"smallest_effect": 0}, "smallest-effect"),
    ],
)
def test_bad_options_are_refused(changes: dict, told: str) -> None:
    with pytest.raises(ChiasmError, match=told):
        SkipSpec(model="m", data="d", **changes)


def test_examples_without_an_image_fail_alone_and_a_run_of_them_fails() -> None:
    data = examples()
    blind = [replace(e, images=(), boxes=()) for e in data]
    with pytest.raises(ChiasmError, match="no example can be used"):
        chiasm.skip(view(), blind, **OPTIONS)
    mixed = [*data[:6], replace(blind[6], id="blind"), replace(data[7], id="unlabelled", answer=" ")]
    run = chiasm.skip(view(), mixed, **OPTIONS | {"peers": False, "controls": False})
    assert sorted(failure["example_id"] for failure in run.directory.failures()) == ["blind", "unlabelled"]


@pytest.mark.heavy
def test_an_example_that_breaks_under_one_plan_is_judged_under_none(monkeypatch) -> None:
    data, scored = examples(), skip_study.answer_logprobs
    calls = []

    def breaking(model, forced):
        found = scored(model, forced)
        calls.append(len(forced))
        return [torch.full_like(found[0], float("nan")), *found[1:]] if len(calls) == 3 else found

    monkeypatch.setattr(skip_study, "answer_logprobs", breaking)
    run = chiasm.skip(view(), data, **OPTIONS | {"controls": False})
    [failure] = run.directory.failures()
    assert "NaN or infinite logits" in failure["reason"]
    verdicts = run.table("verdicts")
    assert failure["example_id"] not in set(verdicts["example_id"])
    assert run.table("plans")["n"].unique().to_list() == [3]


@pytest.mark.heavy
def test_what_a_model_cannot_do_is_left_out_and_logged(caplog) -> None:
    run = chiasm.skip(view_of("gemma3"), examples(6), **OPTIONS | {"calibration": 2, "controls": False})
    kinds = set(run.table("plans")["kind"])
    assert "short-v" in kinds
    assert not {"fast-v", "random-drop"} & kinds
    assert "`fast-v-50` is left out" in caplog.text


def test_the_baseline_stands_beside() -> None:
    baseline = ModelView(*build("llava", seed=1), name="baseline")
    run = chiasm.skip(view(), examples(), **OPTIONS | {"peers": False}, baseline=baseline)
    controls = run.table("contributions_controls")
    assert controls["control"].unique().to_list() == ["twin"]
    assert len(controls) == len(run.table("contributions"))
    assert not np.allclose(controls["kl"], run.table("contributions")["kl"])


@pytest.mark.heavy
def test_a_model_on_its_own_takes_a_plan() -> None:
    plan = read_plan(finished().path / "plans" / "visual-ffn-all.json")
    model, processor = build("llava")
    assert chiasm.apply(model, plan) is model
    inputs = ModelView(model, processor).encode(examples()[0]).inputs
    changed = model(**inputs).logits
    chiasm.remove(model)
    assert not torch.equal(model(**inputs).logits, changed)
    with pytest.raises(ChiasmError, match="made for a llava"):
        chiasm.apply(view_of("qwen2_vl").model, plan)


def test_images_of_one_size_are_enough() -> None:
    rng = np.random.default_rng(0)
    data = [replace(e, images=(picture(rng, 40, 40),), boxes=()) for e in examples(4)]
    run = chiasm.skip(view(), data, **OPTIONS | {"peers": False, "controls": False, "calibration": 2})
    assert run.table("plans")["n"].unique().to_list() == [2]
