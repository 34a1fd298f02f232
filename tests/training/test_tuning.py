"""What trains is what was declared, only answers are learned, and what breaks off can go on."""

import pytest
import torch
from tests.support.factories import build, example

import chiasm.training.loop as loop
from chiasm.core.errors import ChiasmError
from chiasm.models.likelihood import answer_logprobs
from chiasm.models.view import ModelView
from chiasm.training.batches import IGNORED, collator, encode_training
from chiasm.training.features import frozen_tower, tower_features
from chiasm.training.loop import TuningOptions, tune
from chiasm.training.parts import ParameterSnapshot, parts_of, rank_for, trainable, trained_state
from chiasm.training.settings import MAX_RATE, SETTINGS, rate_for, setting_of

CLASSES = ("red", "blue", "light green")
QUICK = {"batch": 2, "scale": 30.0, "epochs": 2}


def view(seed: int = 0) -> ModelView:
    return ModelView(*build("llava", layers=2, seed=seed), name="llava")


def rows(of: ModelView, plain: bool = False, count: int = 6):
    made = [example(seed=k, size=(28, 28), answer=CLASSES[k % 3], options=CLASSES) for k in range(count)]
    return [encode_training(of, one, plain=plain) for one in made]


@pytest.mark.parametrize("name", [name for name in SETTINGS if name != "zero-shot"])
def test_exactly_the_declared_parameters_change(name):
    setting = setting_of(name)
    base = view()
    before = {n: p.detach().clone() for n, p in base.model.named_parameters()}
    tuned = trainable(base, setting)
    declared = {n for n, p in tuned.model.named_parameters() if p.requires_grad}
    original = ParameterSnapshot(tuned)
    result = tune(tuned, rows(tuned, setting.plain), setting, TuningOptions(**QUICK))
    assert result.steps == 6
    assert original.changed() == declared
    if setting.rank:
        assert {parts_of(tuned)[n] for n in declared if "lora_" not in n} == {"projector"}
        assert sum("lora_" in n for n in declared) == 2 * 2 * 7  # every linear map of two layers has two
        inner = dict(tuned.model.get_base_model().named_parameters())
        changed = {n.replace(".base_layer", "") for n, p in inner.items() if "lora_" not in n and _moved(before, n, p)}
    else:
        assert {parts_of(tuned)[n] for n in declared} == set(setting.parts)
        changed = {n for n, p in tuned.model.named_parameters() if _moved(before, n, p)}
        assert changed == declared
    untouched = set(before) - changed
    assert all("vision_tower" not in n for n in changed) == ("tower" not in setting.parts)
    assert untouched
    original.restore()
    assert not original.changed()


def _moved(before, name, parameter) -> bool:
    return not torch.equal(before[name.replace(".base_layer", "")], parameter.detach())


def test_only_the_answer_and_its_end_are_learned():
    of = view()
    given = rows(of)
    batch = collator(of)(given)
    assert batch["labels"].shape == batch["input_ids"].shape
    for labels, ids, row in zip(batch["labels"], batch["input_ids"], given, strict=True):
        learned = labels != IGNORED
        assert tuple(labels[learned].tolist()) == row.answer_tokens
        assert torch.equal(labels[learned], ids[learned])
        assert row.answer_tokens[-1] == of.tokenizer.eos_token_id
    answers = {of.tokenizer.decode(row.answer_tokens, skip_special_tokens=True).strip() for row in given}
    assert answers == set(CLASSES)


def test_the_released_setting_never_shows_the_question():
    of = view()
    one = example(answer="light green", question="Which colour is it, red or blue?")
    row = encode_training(of, one, plain=True)
    image = of.config.image_token_id
    ids = row.input_ids[0].tolist()
    label = of.tokenizer("light green\n", add_special_tokens=False)["input_ids"]
    assert ids == [of.tokenizer.bos_token_id, *[image] * 16, *label]
    shown = of.tokenizer.decode([i for i in ids if i != image], skip_special_tokens=True)
    assert shown == "light green\n"
    other = encode_training(of, example(answer="light green", question="Is it?"), plain=True)
    assert torch.equal(row.input_ids, other.input_ids)
    assert answer_logprobs(of, [row])[0].isfinite().all()


def test_features_in_place_of_pixels_change_nothing(tmp_path):
    of = view()
    given = rows(of)
    pixels = [row.inputs["pixel_values"] for row in given]
    features = tower_features(of, (pixels[:4], pixels[4:]), tmp_path / "f.npy", len(pixels))
    kept = [features.put_into(row, k, of) for k, row in enumerate(given)]
    plain = answer_logprobs(of, given)
    with frozen_tower(of):
        reused = answer_logprobs(of, kept)
    for a, b in zip(plain, reused, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-3)
    assert features.pooled.shape == (6, of.config.vision_config.hidden_size)
    assert not torch.equal(answer_logprobs(of, given[:1])[0], answer_logprobs(of, given[1:2])[0])


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_state(monkeypatch):
    of = trainable(view(), setting_of("ft-proj"))
    seen = []

    plain = loop.Trainer.training_step

    def breaking(self, *args, **kwargs):
        seen.append(trained_state(of))
        loss = plain(self, *args, **kwargs)
        return loss * float("nan") if len(seen) == 4 else loss

    monkeypatch.setattr(loop.Trainer, "training_step", breaking)
    monkeypatch.setattr(loop, "_KEEP_EVERY", 1)
    result = tune(of, rows(of), setting_of("ft-proj"), TuningOptions(**QUICK))
    assert result.diverged == 3
    assert len(result.losses) == 3
    now = trained_state(of)
    assert all(torch.equal(now[name], value) for name, value in seen[2].items())


def test_nothing_good_to_keep_is_an_error():
    of = trainable(view(), setting_of("ft-proj"))
    with torch.no_grad():
        next(of.projector.parameters()).fill_(float("nan"))
    with pytest.raises(ChiasmError, match="first step"):
        tune(of, rows(of), setting_of("ft-proj"), TuningOptions(**QUICK))


def test_a_run_that_was_broken_off_ends_as_one_that_was_not(tmp_path, monkeypatch):
    setting, options = setting_of("ft-proj"), {**QUICK, "save_every": 2}
    whole = trainable(view(), setting)
    tune(whole, rows(whole), setting, TuningOptions(**options, out=tmp_path / "a"))
    broken = trainable(view(), setting)
    original = loop._Trainer.training_step

    def stop(self, *args, **kwargs):
        if self.state.global_step == 3:
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    monkeypatch.setattr(loop._Trainer, "training_step", stop)
    with pytest.raises(KeyboardInterrupt):
        tune(broken, rows(broken), setting, TuningOptions(**options, out=tmp_path / "b"))
    monkeypatch.setattr(loop._Trainer, "training_step", original)
    again = trainable(view(), setting)
    result = tune(again, rows(again), setting, TuningOptions(**options, out=tmp_path / "b", resume=True))
    assert result.steps == 6
    assert len(result.losses) == 4  # the first two steps were not repeated
    expected = trained_state(whole)
    assert all(torch.equal(expected[name], value) for name, value in trained_state(again).items())


@pytest.mark.parametrize("options", [{"checkpointing": True}, {"micro_batch": 1}])
def test_saving_memory_changes_nothing_but_rounding(options):
    setting = setting_of("ft-e2e")
    found = []
    for more in ({}, options):
        of = trainable(view(), setting)
        found.append(tune(of, rows(of), setting, TuningOptions(batch=2, scale=1.0, **more)).losses)
    sums = [sum(losses) / len(losses) for losses in found]
    assert sums[0] == pytest.approx(sums[1], rel=2e-2)


def test_mixed_precision_trains():
    setting = setting_of("ft-proj")
    of = trainable(view(), setting)
    original = ParameterSnapshot(of)
    result = tune(of, rows(of), setting, TuningOptions(**QUICK, bf16=True))
    assert all(loss == loss for loss in result.losses)
    assert original.changed()


def test_mistakes_are_named():
    of = view()
    of.model.requires_grad_(False)
    with pytest.raises(ChiasmError, match="no parameter trains"):
        tune(of, rows(of), setting_of("ft-proj"), TuningOptions())
    with pytest.raises(ChiasmError, match="there are zero-shot"):
        setting_of("ft")


def test_the_head_is_run_where_answers_are_and_the_loss_is_the_model_s_own():
    of = trainable(view(), setting_of("ft-proj"))
    given = rows(of, count=4)
    batch = collator(of)(given)
    with torch.no_grad():
        plain = of.model(**batch)
    seen = []
    hook = of.model.get_output_embeddings().register_forward_hook(lambda _, __, out: seen.append(out.shape[1]))
    found = tune(of, given, setting_of("ft-proj"), TuningOptions(batch=4, steps=1, scale=1.0))
    hook.remove()
    assert found.losses[0] == pytest.approx(float(plain.loss), rel=1e-4)
    assert seen == [1 + max(len(row.answer_tokens) for row in given)]
    assert plain.logits.shape[1] > 2 * seen[0]


def test_published_rates_are_raised_for_narrow_decoders_and_bounded():
    assert rate_for(1e-3, 4096) == 1e-3
    assert rate_for(2e-5, 128) == pytest.approx(6.4e-4)
    assert rate_for(1e-3, 128) == MAX_RATE
    assert rate_for(2e-5, 8192) == 1e-5
    assert rate_for(1e-2, 128) == 1e-2  # what was published is never lowered by the bound
    assert rate_for(1e-3, 128, scale=32) == pytest.approx(3.2e-2)
    assert rate_for(2e-5, 96, published=1024) == pytest.approx(2.13e-4, rel=1e-2)
    assert rate_for(2e-4, 128, max_rate=5e-3) == 5e-3


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("ft-proj", {MAX_RATE}),
        ("ft-lora", {2e-5 * 4096 / 48, MAX_RATE}),
        ("ft-tower", {2e-5 * 4096 / 48, 2e-5 * 1024 / 32}),
    ],
)
def test_every_kind_of_parameter_has_its_own_rate(name, rates, monkeypatch):
    of, seen = view(), []
    setting = setting_of(name)
    chosen = trainable(of, setting)
    assert (of.width, of.tower_width) == (48, 32)
    made = torch.optim.AdamW.__init__

    def noted(self, groups, **kwargs):
        seen.extend(groups)
        made(self, [dict(group) for group in groups], **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "__init__", noted)
    tune(chosen, rows(of), setting, TuningOptions(batch=4, steps=1))
    assert sorted({group["lr"] for group in seen}) == pytest.approx(sorted(rates))
    held = [p for group in seen for p in group["params"]]
    assert {id(p) for p in held} == {id(p) for p in chosen.model.parameters() if p.requires_grad}


@pytest.mark.parametrize(("width", "rank"), [(4096, 128), (128, 16), (32, 8)])
def test_adapters_stay_narrower_than_the_decoder(width, rank):
    assert rank_for(setting_of("ft-lora").rank, width) == rank


def test_adapters_start_from_their_seed_whatever_was_drawn_before():
    def started(seed):
        torch.rand(seed + 3)
        state = torch.get_rng_state()
        named = trainable(view(), setting_of("ft-lora"), seed).model.named_parameters()
        assert torch.equal(torch.get_rng_state(), state)  # and others draw on as if there were none
        return torch.cat([p.detach().flatten() for name, p in named if "lora_A" in name])

    first = started(0)
    assert torch.equal(started(0), first)
    assert not torch.equal(started(1), first)


def test_a_model_without_a_projector_is_refused():
    of = view()
    of.projector = None
    with pytest.raises(ChiasmError, match="none was found"):
        trainable(of, setting_of("ft-proj"))
    assert all(p.requires_grad for p in of.model.parameters())  # nothing was frozen on the way
