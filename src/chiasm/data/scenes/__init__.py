"""The procedural worlds `scenes`, `scenes-video` and `scenes-audio`: shapes, shapes that move, tones in a row.

Images, clips and sounds with questions and captions; boxes for images. No torch, no tokens.
"""

from chiasm.data.scenes.counterfactuals import changed_answer, is_scene, same_answer
from chiasm.data.scenes.draw import blank, render
from chiasm.data.scenes.melodies import AUDIO_TYPES, Melody, draw_melody
from chiasm.data.scenes.moving import VIDEO_TYPES, MovingScene, draw_moving
from chiasm.data.scenes.questions import TYPES, SceneQuestion
from chiasm.data.scenes.stream import scenes, scenes_audio, scenes_video
from chiasm.data.scenes.world import Scene, Thing, draw_scene

__all__ = [
    "AUDIO_TYPES",
    "TYPES",
    "VIDEO_TYPES",
    "Melody",
    "MovingScene",
    "Scene",
    "SceneQuestion",
    "Thing",
    "blank",
    "changed_answer",
    "draw_melody",
    "draw_moving",
    "draw_scene",
    "is_scene",
    "render",
    "same_answer",
    "scenes",
    "scenes_audio",
    "scenes_video",
]
