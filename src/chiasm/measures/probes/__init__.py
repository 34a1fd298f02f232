"""Probes: classifiers that say what can be read from a representation, trained in batches."""

from chiasm.measures.probes.alone import train_alone
from chiasm.measures.probes.batched import train_probes
from chiasm.measures.probes.clouds import Cloud, Fitted, Labels, Task
from chiasm.measures.probes.kinds import PROBES, Probe, probe_of

__all__ = ["PROBES", "Cloud", "Fitted", "Labels", "Probe", "Task", "probe_of", "train_alone", "train_probes"]
