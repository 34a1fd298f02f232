"""Files, data sets in their published layouts and the procedural world, all read as `Example`s; scoring of answers."""

from chiasm.data.files import write_jsonl
from chiasm.data.sources import examples, register, sequence
