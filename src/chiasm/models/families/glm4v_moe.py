"""GLM-4.5V: as Qwen2-VL outside, with a mixture of experts in most layers of its decoder."""

from chiasm.models.families.qwen2_vl import Qwen2VL

GLM = (
    "{{ '[gMASK]<sop>' }}{% for message in messages %}{{ '<|' + message['role'] + '|>\n' }}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<|begin_of_image|><|image|><|end_of_image|>' }}"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)


class Glm4vMoe(Qwen2VL):
    """Each token goes to its own experts, whoever else is in the call (GLM-V Team 2025): packing changes no routing."""

    name = "glm4v_moe"
    model_types = ("glm4v_moe",)
    kind = "projector, native resolution, causal, M-RoPE, mixture of experts"
    # Its videos are written as images with a time before each, for which there is no rule here.
    modalities = frozenset({"image"})
    fallback_template = GLM
