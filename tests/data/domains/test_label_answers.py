"""The prompt holds every class once; the parser's rules, one by one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiasm.data.domains import SURFACES, classify, parsed

PLANTS = ("Apple leaf", "Apple rust leaf", "Bell_pepper leaf", "Bell_pepper leaf spot", "polka-dotted", "dotted")


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Apple leaf", "Apple leaf"),
        ('  "apple LEAF".\n', "Apple leaf"),
        ("Output: bell_pepper leaf", "Bell_pepper leaf"),
        ("The label is: Bell-pepper  leaf spot", "Bell_pepper leaf spot"),
        ("This is a Bell pepper leaf spot, I think", "Bell_pepper leaf spot"),  # the shorter name lies inside it
        ("polka dotted", "polka-dotted"),
        ("\uff41pple leaf", "Apple leaf"),  # NFKC
        ("It is dotted", "dotted"),
        ("undotted", None),  # no whole word
        ("Apple leaf or Apple rust leaf", None),
        ("an oak", None),
        ("", None),
        ("...", None),
    ],
)
def test_rules(text, label):
    assert parsed(text, PLANTS) == label


@given(st.sampled_from(PLANTS), st.sampled_from(["{}", '"{}"', "{}.", "Answer: {}", "It is {}, surely."]))
def test_every_class_is_read_back(label, form):
    assert parsed(form.format(label), PLANTS) == label


def test_the_prompt_names_every_class_in_a_seeded_order():
    first, again, other = (classify("surface textures", SURFACES, seed) for seed in ("a", "a", "b"))
    assert first == again != other
    assert first.startswith("Classify this image into one of the following categories relating to surface textures: ")
    assert first.endswith("Only output a single final classification label and NOTHING ELSE.")
    assert all(first.count(f'"{label}"') == 1 for label in SURFACES)
    assert classify("t", SURFACES, "a", output=True).endswith("\n\nOutput:")
