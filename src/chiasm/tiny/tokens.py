"""The embedded model's words: a byte-level BPE in which every word of the world is one token."""

from collections.abc import Iterator
from typing import Final

from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

from chiasm.data.scenes.world import COLORS, COLUMNS, ROWS, SHAPES, SIZES

IMAGE: Final = "<image>"
VIDEO: Final = "<video>"
AUDIO: Final = "<audio>"
INSTRUCTION: Final = "Answer the question using a single word or phrase."
# The instruction stands in every prompt. Two tokens for it, instead of ten, are two thirds of a question saved.
_PHRASES: Final = ("Answer the question", " using a single word or phrase.")
# What is perceived comes first, then the text, as in LLaVA-1.5's own template.
TEMPLATE: Final = (
    "{% for message in messages %}"
    "{% if message['role'] != 'system' %}{{ message['role'].upper() + ': ' }}{% endif %}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for kind in ('image', 'video', 'audio') %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', kind) %}{{ '<' + kind + '>\n' }}{% endfor %}"
    "{% endfor %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}{{ part['text'] }}{% endfor %}"
    "{% endif %}"
    "{{ '</s>' if message['role'] == 'assistant' else ' ' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
_ROLES: Final = ("USER", "ASSISTANT")
_GRAMMAR: Final = tuple(
    "a an the is are at of to or and in on do what which there object objects share color size side left right above "  # noqa: SIM905
    "below yes no shape where how many image describe".split()
)
# What moves in clips, and what is heard in sounds.
_MOTION: Final = tuple(
    "moves moving move still moved stands stand first last up down direction way frame frames video clip start starts "  # noqa: SIM905
    "end ends begins then before after away stays row column".split()
)
_SOUND: Final = tuple(
    "tone tones pitch high low long short length pure rough buzzing noise rising falling rises falls sound audio plays "  # noqa: SIM905
    "hear heard longer shorter higher lower second third fourth comes come silence loud quiet beep sequence".split()
)
# What images of other domains are called. The model never sees them; it can say them, so that it can be adapted.
TEXTURES: Final = tuple(
    "striped dotted checkered woven cracked wavy spiral marbled grainy scaly zigzag crosshatched".split()  # noqa: SIM905
)
LEAVES: Final = tuple("healthy rust blight mildew scab spot mosaic wilt rot scorch".split())  # noqa: SIM905
_DOMAINS: Final = ("leaf", "leaves", "plant", "surface", "texture", "pattern", "disease", "condition", "called")
# Words that people type into a box: the model was never taught them, but they need not fall into bytes.
_COMMON: Final = tuple(
    "it its this that these those with without not any some all both each other one two three four five i you he she "  # noqa: SIM905
    "we they my your from for by as be was were has have had can could would will does did see show shown look tell "
    "me about picture photo scene thing things kind type same different next near far between under over behind "
    "front inside outside big little white gray brown dark light bright color colors shapes word phrase only more "
    "most less than when why who if then so up down here".split()
)


_WORLD: Final = (*SHAPES, *COLORS, *SIZES, *ROWS, *COLUMNS)


def vocabulary() -> tuple[str, ...]:
    """The words that are single tokens, in lower case; each also as a capitalised one."""
    return tuple(dict.fromkeys((*_WORLD, *_GRAMMAR, *_MOTION, *_SOUND, *TEXTURES, *LEAVES, *_DOMAINS, *_COMMON)))


def tokenizer(closing: bool = False) -> PreTrainedTokenizerFast:
    """The tokenizer, built from the word list alone: the same on every machine, able to encode any text.

    `closing` ends every text with `</s>` and pads on the right, as a contrastive text head expects.
    """
    core = Tokenizer(BPE())
    core.pre_tokenizer = ByteLevel(add_prefix_space=False)
    core.decoder = ByteDecoder()
    # The end is not token 2: CLIP text configurations read that number as a sign of an old checkpoint.
    specials = ["<pad>", "<s>", IMAGE, "</s>", VIDEO, AUDIO]
    trainer = BpeTrainer(
        vocab_size=1 << 14,  # never reached: training ends when every word is one token
        min_frequency=1,
        special_tokens=specials,
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(_words(), trainer)
    core.add_tokens([AddedToken(phrase, normalized=False) for phrase in _PHRASES])
    ends = [(mark, core.token_to_id(mark)) for mark in ("<s>", "</s>")]
    single, pair = ("<s> $A </s>", "<s> $A </s> $B </s>") if closing else ("<s> $A", "<s> $A <s> $B")
    core.post_processor = TemplateProcessing(single=single, pair=pair, special_tokens=ends)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        padding_side="right" if closing else "left",
        model_max_length=1024,
        clean_up_tokenization_spaces=False,
        additional_special_tokens=[IMAGE, VIDEO, AUDIO],
        extra_special_tokens={"image_token": IMAGE, "video_token": VIDEO, "audio_token": AUDIO},
    )
    fast.chat_template = TEMPLATE
    return fast


def _words() -> Iterator[str]:
    for word in _ROLES:
        yield word
        yield f" {word}"
    for word in vocabulary():
        yield f" {word}"
        yield f" {word.capitalize()}"
        yield word.capitalize()
        yield word
