"""Headlines say no more than what is established, and say plainly what is not."""

from dataclasses import replace

import pytest

from chiasm.core.claims import Claim
from chiasm.studies.align.headline import align_headline
from chiasm.studies.compare.headline import relation_headline
from chiasm.studies.eval.headline import eval_headline
from chiasm.studies.flow.headline import flow_headline
from chiasm.studies.look.headline import look_headline
from chiasm.studies.paper.headline import paper_headline
from chiasm.studies.project.headline import project_headline
from chiasm.studies.prune.headline import prune_headline
from chiasm.studies.skip.headline import skip_headline

BASE = Claim(
    kind="effect", about="image->last", quantity="change", unit="nat", effect=-0.5, n=90, verdict="established"
)
NONE, OPEN, BARE = "practically none", "not established", "uncontrolled"


def of(**given):
    return replace(BASE, **given)


def cut(name, *verdicts, effect=-0.5):
    return [of(about=name, where=str(k), verdict=verdict, effect=effect) for k, verdict in enumerate(verdicts)]


def test_flow_says_which_routes_carry_the_answer_and_which_do_not():
    claims = [
        *cut("question->last", OPEN, OPEN, "established"),
        *cut("image->last", NONE, NONE, NONE),
        *cut("image->question", "established", "established", NONE),
        *cut("image.object->question", "established", NONE, NONE),
    ]
    assert flow_headline(claims) == (
        "The image reaches the question in layers 0 to 1; the question reaches the answer directly in layer 2; "
        "practically nothing goes from the image to the answer directly."
    )


def test_flow_with_wide_windows_says_around_which_layers():
    assert flow_headline(cut("image->question", "established"), width=9) == (
        "The image reaches the question around layer 0."
    )


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        ((OPEN, NONE), "Nothing is established of what goes from the image to the answer directly."),
        ((NONE, NONE), "Practically nothing goes from the image to the answer directly."),
        ((BARE, NONE), "The image reaches the answer directly in layer 0; uncontrolled where no control was run."),
    ],
)
def test_flow_claims_no_more_than_is_established(verdicts, said):
    assert flow_headline(cut("image->last", *verdicts)) == said


def test_flow_says_that_few_examples_establish_little():
    few = [replace(one, n=17) for one in cut("image->last", OPEN, NONE)]
    assert flow_headline(few).endswith("; 17 examples are few for 2 effects that have to hold at once.")


def test_flow_says_where_an_effect_is_of_one_type_of_question():
    one = cut("image->question", NONE, "established")
    types = [of(kind="type", about=f"image->question, {name}", where="1") for name in ("Query", "Choose", "Compare")]
    only = [types[0], *(replace(other, verdict=NONE) for other in types[1:])]
    assert flow_headline([*one, *only]) == "The image reaches the question in layer 1 only for Query."
    assert "only" not in flow_headline([*one, *types])
    assert "only" not in flow_headline([*one, types[0], replace(types[1], verdict=OPEN)])
    two = cut("image->question", "established", "established")
    assert "in layers 0 to 1, in layer 1 only for Query." in flow_headline([*two, *only])
    other = [replace(one, where="0") for one in (replace(types[0], verdict=NONE), types[1], *only[2:])]
    said = flow_headline([*two, *only, *other])
    assert "in layers 0 to 1, in layer 0 only for Choose and in layer 1 only for Query." in said
    same = [replace(one, where="0") for one in only]
    assert "in layers 0 to 1, in layers 0 and 1 only for Query." in flow_headline([*two, *only, *same])


def test_flow_does_not_call_a_gain_a_route():
    text = flow_headline(cut("image->last", "established", effect=0.4))
    assert "reaches" not in text
    assert "more probable in layer 0" in text


def test_flow_without_published_cuts_names_those_there_are():
    text = flow_headline([*cut("first->second", "established"), *cut("second->first", OPEN)])
    assert (
        text
        == "`first` reaches `second` in layer 0; whether anything goes from `second` to `first` is not established."
    )


def test_look_says_more_less_or_that_it_is_not_known():
    share = of(kind="share", about="last to image", unit="points", where="0")
    objects = of(kind="object", about="last", unit="points", where="0", effect=9.0, verdict=OPEN)
    assert look_headline([share, objects]) == (
        "From the last position, the image gets less attention than its share of the tokens in layer 0; that the "
        "object asked about gets more or less attention than its share of the image is not established in any layer."
    )
    assert look_headline([]).startswith("Nothing is shown or played")
    head = of(kind="head", about="last to image, head 3", unit="points", where="7", effect=9.0)
    assert look_headline([share, objects, head]).endswith(
        "; one head looks at the image more than the others of the same layer, head 3 of layer 7."
    )
    other = replace(head, about="last to image, head 5", effect=12.0)
    assert "2 heads look at the image more than the others of the same layer, most head 5 of layer 7" in look_headline(
        [share, objects, head, other]
    )
    assert "head" not in look_headline([share, objects, replace(head, verdict=OPEN), replace(head, effect=-1.0)])


@pytest.mark.parametrize(
    ("verdict", "effect", "said"),
    [
        ("established", 40.0, "more than 50.0 %"),
        (OPEN, 40.0, "not established to be more than 50.0 %"),
        (NONE, 0.0, "practically no more than 50.0 %"),
    ],
)
def test_eval_compares_with_guessing(verdict, effect, said):
    guess = {"about": "all", "control": "the most frequent answer", "control_effect": 50.0}
    right = of(kind="right", unit="%", effect=90.0, **guess)
    gain = of(kind="gain", unit="points", effect=effect, verdict=verdict, **guess)
    seen = of(kind="seen", about="all", unit="points", effect=3.0, verdict=OPEN)
    text = eval_headline([right, gain, seen])
    assert said in text
    assert text.endswith("that seeing the image helps is not established.")


def test_eval_of_texts_names_their_measure():
    one = of(kind="measure", about="cider_d", quantity="CIDEr-D", unit="1", effect=0.834)
    beside = of(kind="measure-seen", about="cider_d", unit="1", effect=0.5)
    assert eval_headline([one, beside]) == "CIDEr-D is 0.83, which needs the image."
    assert eval_headline([one]) == "CIDEr-D is 0.83."
    assert eval_headline([]) == "There is no answer to score."


def test_align_does_not_call_a_score_alignment_that_a_control_reaches():
    score = of(kind="score", about="ima_same of image and question", unit="1", effect=0.516, control="twin")
    weak = align_headline([replace(score, verdict=OPEN, control_effect=0.75)])
    assert "0.52 (ima_same), not established to go beyond random weights (0.75)" in weak
    below = replace(score, kind="score-control", effect=-0.23, control_effect=0.75)
    lower = align_headline([replace(score, verdict=OPEN, control_effect=0.75), below])
    assert "0.52 (ima_same), below that of random weights (0.75)" in lower
    other = align_headline([replace(score, verdict=OPEN, control_effect=0.75), replace(below, control="noise")])
    assert "not established to go beyond random weights" in other
    assert "beyond its controls" in align_headline([score])
    shared = of(kind="shared", about="image and question", where="3", effect=0.4)
    text = align_headline([score, shared])
    assert text.endswith("the image is nearer to its own question than to those of other examples at state 3.")


def test_few_models_show_no_relation():
    one = of(kind="relation", about="ima_0 of image and question with accuracy", unit="1", effect=0.9)
    assert "cannot show" in relation_headline([replace(one, n=2)])
    assert "not established" in relation_headline([replace(one, n=12, verdict=OPEN)])
    text = relation_headline([replace(one, n=12, verdict=BARE)])
    assert "answer right more often (Spearman 0.90; uncontrolled" in text
    assert "less often" in relation_headline([replace(one, n=12, verdict=BARE, effect=-0.9)])


def test_paper_says_whether_scores_change_through_training():
    one = of(kind="training", about="ima_0 of image and question through the training of t", effect=0.2)
    assert paper_headline([one]).endswith("ima_0 rises through training.")
    assert paper_headline([replace(one, verdict=OPEN)]).endswith("change through training is not established.")


def plan(kind, about, **given):
    return of(kind=kind, about=about, **({"unit": "points", "control": "loss allowed", "control_effect": 1.0} | given))


def test_skip_names_the_plan_and_what_it_saves():
    claims = [
        plan("recommended", "search-80", where="ffn of image tokens in layers 2-5"),
        plan("kept", "search-80"),
        plan("operations", "search-80", unit="%", effect=81.6),
        plan("time", "search-80", unit="%", effect=-12.3, where="a batch"),
        plan("time", "search-80", unit="%", effect=-1.0, where="one prompt", verdict=OPEN),
    ]
    assert skip_headline(claims) == (
        "Use the plan search-80: it leaves out ffn of image tokens in layers 2-5, takes 82 % of the operations, and is "
        "established to keep within a loss of 1 point of right answers; it reads a batch of prompts in 12 % less time."
    )


def test_skip_says_why_none_is_recommended():
    none = plan("recommended", "none", verdict=OPEN)
    assert "of 1 none is established to keep within a loss of 1 point" in skip_headline(
        [none, plan("kept", "a", verdict=OPEN)]
    )
    assert "none of these to save time" in skip_headline([none, plan("kept", "a"), plan("kept", "b", verdict=OPEN)])
    assert skip_headline([none]) == "No plan is recommended: none leaves out operations."
    assert skip_headline([]) == "No plan has been verified yet."


def test_prune_says_how_much_can_go_and_whether_one_mask_serves_all():
    kept = plan("kept", "wanda", where="50 %")
    chosen = plan("recommended", "wanda", where="50 %", unit="%")
    own = of(kind="own-type", about="masks", where="50 %", effect=9.0, verdict=OPEN)
    assert prune_headline([chosen, kept, own]) == (
        "50 % of the weights can be zero: Wanda is established to keep within a loss of 1 point of right answers "
        "there; that questions need the mask of their own type is not established."
    )
    none = plan("recommended", "dense", verdict=OPEN)
    assert "not established to keep within a loss of 1 point at 50 %" in prune_headline(
        [none, replace(kept, verdict=OPEN)]
    )


def test_project_advises_only_what_has_learnt():
    score = of(kind="score", about="leaves, ft-e2e", unit="1", effect=0.6, control_effect=0.1)
    gain = of(kind="gain", about="leaves, ft-e2e", unit="1", effect=0.5)
    assert project_headline([score, gain], 0.05) == "In leaves, tune by ft-e2e."
    other = [replace(score, about="surfaces, ft-e2e"), replace(gain, about="surfaces, ft-e2e", verdict=OPEN)]
    text = project_headline([score, gain, *other], 0.05)
    assert text.endswith(
        "In surfaces, no setting is established to answer better than guessing and than the untouched model."
    )
    assert project_headline([], 0.05) == "No setting has been tuned yet."
