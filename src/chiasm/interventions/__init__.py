"""What changes, as frozen values. How it is computed is the executors' business (`chiasm.models.executors`)."""

from chiasm.interventions.ablations import Ablation, is_ablation
from chiasm.interventions.cuts import Cut
from chiasm.interventions.variant import Change, KnockOut, Tap, Variant, Zero
from chiasm.interventions.windows import Window, all_windows, centred, prefixes, suffixes
