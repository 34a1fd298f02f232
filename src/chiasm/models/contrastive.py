"""A tower's own zero-shot answers, by its contrastive text head."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from transformers import AutoModelForZeroShotImageClassification, AutoProcessor

from chiasm.models.loading import read_pretrained

_BATCH = 32
TEMPLATE = "{}"
"""The paper compares with the label itself (appendix A.1); its released code says "This is a photo of {}."."""


@torch.no_grad()
def label_similarity(
    source: str | Path,
    images: Sequence[Image.Image],
    labels: Sequence[str],
) -> Float[Tensor, "n C"]:
    """The similarity of each image's embedding to each label's, in the model's own scale; argmax is the answer.

    `source`: a CLIP or SigLIP checkpoint whose tower is the model's.

    **Errors:** `ChiasmError` where it cannot be read.
    """
    asked, where = f"load the contrastive model `{source}`", str(source)
    local = Path(where).is_dir()
    model: Any = read_pretrained(asked, local, "it", AutoModelForZeroShotImageClassification.from_pretrained, where)
    processor: Any = read_pretrained(asked, local, "its processor", AutoProcessor.from_pretrained, where)
    texts = [TEMPLATE.format(label) for label in labels]
    found = []
    for start in range(0, len(images), _BATCH):
        inputs = processor(text=texts, images=list(images[start : start + _BATCH]), padding=True, return_tensors="pt")
        found.append(model.eval()(**inputs).logits_per_image)
    return torch.cat(found)
