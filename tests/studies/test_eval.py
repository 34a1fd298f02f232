"""Answers are the model's own, right means equal to the label, and blind means that no pixel is left."""

from dataclasses import replace

import numpy as np
import pytest
from tests.support import factories

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.core.example import Example
from chiasm.core.media import load_image
from chiasm.models.generation import generate
from chiasm.models.loading import wrap
from chiasm.results.rundir import RunDirectory
from chiasm.studies.eval import EvalSpec, blanked, run_eval


@pytest.fixture(scope="module")
def view():
    return wrap(*factories.build("llava"))


def run(view, examples, **options):
    spec = EvalSpec(model="m", data="d", max_new_tokens=3, unit=2, **options)
    with RunDirectory.open(None, spec) as directory:
        run_eval(spec, view, examples, directory)
    return directory


def test_answers_are_scored_by_equality(view):
    examples = [factories.example(seed=seed) for seed in range(3)]
    said = [generate(view, [view.encode(example)], max_new_tokens=3)[0].text for example in examples]
    examples[0] = replace(examples[0], answer=said[0].upper())
    examples[1] = replace(examples[1], answer=f"{said[1]}.")
    rows = run(view, examples).table("eval")
    assert rows["generated"].to_list() == said
    assert rows["correct"].to_list() == [True, False, False]
    assert run(view, examples, relaxed=True).table("eval")["correct"].to_list() == [True, True, False]


def test_a_blind_run_sees_grey_of_the_same_size(view):
    examples = [factories.example(seed=seed) for seed in range(2)]
    found = run(view, examples, blind=True)
    grey = [generate(view, [view.encode(blanked(example))], max_new_tokens=3)[0].text for example in examples]
    assert found.table("blind")["generated"].to_list() == grey
    assert found.table("blind")["generated"].to_list() != found.table("eval")["generated"].to_list()


def test_blanking_keeps_sizes_and_tells_broken_images(tmp_path):
    example = factories.example(images=2)
    blind = blanked(example)
    assert [image.size for image in blind.images] == [load_image(image).size for image in example.images]
    assert all((np.asarray(image) == 128).all() for image in blind.images)
    with pytest.raises(ExampleError):
        blanked(Example(id="x", question="?", images=(tmp_path / "nothing.png",)))


def test_a_bad_example_does_not_stop_the_others(view, tmp_path):
    broken = Example(id="broken", question="What?", images=(tmp_path / "nothing.png",))
    found = run(view, [broken, factories.example()], blind=True)
    assert found.counts() == {"asked": 2, "kept": 1, "left_out": 0, "failed": 1}


@pytest.mark.parametrize("options", [{"unit": 0}, {"max_new_tokens": 0}])
def test_specs_that_mean_nothing(options):
    with pytest.raises(ChiasmError):
        EvalSpec(model="m", data="d", **options)
