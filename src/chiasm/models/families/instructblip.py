"""InstructBLIP: as BLIP-2, with queries that have read the question when they read the image."""

from chiasm.models.families.blip_2 import Blip2


class InstructBlip(Blip2):
    """Image tokens depend on the question (Dai et al. 2023): two questions on one image share no row."""

    name = "instructblip"
    model_types = ("instructblip",)
    kind = "query transformer that reads the question, causal"
