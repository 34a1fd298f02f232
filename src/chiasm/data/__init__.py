"""Files, data sets in their published layouts and the procedural world, all read as `Example`s; scoring of answers."""

from chiasm.data.files import read_jsonl, read_parquet, write_jsonl
from chiasm.data.layouts.flow_csv import read_flow_csv
from chiasm.data.layouts.gqa import read_gqa
from chiasm.data.scoring import Accuracy, accuracy, correct
from chiasm.data.sources import examples, register
