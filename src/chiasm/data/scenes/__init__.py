"""The procedural world `scenes`: pictures of shapes with questions, boxes and captions. No torch, no tokens."""

from chiasm.data.scenes.draw import blank, render
from chiasm.data.scenes.questions import TYPES, Question
from chiasm.data.scenes.stream import scenes
from chiasm.data.scenes.world import Scene, Thing, draw_scene

__all__ = ["TYPES", "Question", "Scene", "Thing", "blank", "draw_scene", "render", "scenes"]
