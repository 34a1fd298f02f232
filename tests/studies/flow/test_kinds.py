"""`chiasm flow` on a saved checkpoint of every kind, with a user's own examples."""

import json

import pytest
from tests.support.factories import KINDS, build, example, save

import chiasm
from chiasm.core.example import Box

# Those that take pictures, of which the first two say most about the engine.
SHOWN = [k for k in KINDS if example(k).images]
SAMPLE = ("lfm2_vl", "mllama")


def flow(family, folder, **options):
    rows = []
    for seed in range(2):
        shown = example(family, seed=seed)
        shown.images[0].save(folder / f"{seed}.png")
        asked = {"question": shown.question, "answer": "red", "options": list(shown.options), "type": "choose"}
        rows.append({"id": f"e{seed}", "image": f"{seed}.png", **asked})
    (folder / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))
    save(family, folder / "model")
    given = {"keep": "all", "controls": False, "out": None} | options
    return chiasm.flow(str(folder / "model"), data=folder / "data.jsonl", **given)


@pytest.mark.parametrize("family", [k if k in SAMPLE else pytest.param(k, marks=pytest.mark.heavy) for k in SHOWN])
def test_flow_runs_on_a_saved_checkpoint(family, tmp_path):
    run = flow(family, tmp_path, cuts=["image->question", "question->last"], window=2)
    effects = run.table("effects")
    assert effects["example_id"].n_unique() == 2
    assert effects["change_percent"].abs().max() > 0.1


def test_windows_without_attention_are_left_out_and_said(tmp_path):
    run = flow("lfm2_vl", tmp_path, cuts=["image->question"], window=1)
    assert set(run.table("effects")["layer"]) == {1, 3}
    assert all("attention layers only" in item["reason"] for item in run.directory.skipped())
    assert len(run.directory.skipped()) == 2


def test_a_cut_of_the_picture_acts_in_the_layers_that_attend_to_it(tmp_path):
    run = flow("mllama", tmp_path, cuts=["image->question", "question->last"], window=1)
    layers = {cut: set(rows["layer"]) for (cut,), rows in run.table("effects").group_by("cut")}
    assert layers == {"image->question": {0, 1, 2, 3}, "question->last": {0, 2}}


def test_parts_of_a_picture_are_refused_where_its_tokens_look_at_all_of_it(tmp_path):
    run = flow("blip_2", tmp_path, cuts=["image.object->last", "image.other->last", "image->last"], window=2)
    assert set(run.table("effects")["cut"]) == {"image->last"}
    reasons = {item["reason"] for item in run.directory.skipped()}
    assert len(reasons) == 2
    assert all("look at the image as a whole" in reason for reason in reasons)


def test_an_object_outside_what_the_model_sees_is_said(tmp_path):
    """A centre crop leaves the middle of a wide picture; the ball stands at its left edge."""
    ball = (Box("ball", 0, 20, 60, 60),)
    shown = [example("llava", seed=seed, size=(640, 160), boxes=ball) for seed in range(2)]
    cuts = ["image.object->last", "image.other->last"]
    model, processor = build("llava")
    run = chiasm.flow(
        chiasm.load(model=model, processor=processor),
        data=shown,
        cuts=cuts,
        window=2,
        keep="all",
        controls=False,
        out=None,
    )
    assert set(run.table("effects")["cut"]) == {"image.other->last"}
    reasons = [item["reason"] for item in run.directory.skipped()]
    assert len(reasons) == 4
    assert sum(reason == "outside what the model sees of the image: ball" for reason in reasons) == 2
    assert sum("since the object (ball) lies outside what the model sees" in reason for reason in reasons) == 2
