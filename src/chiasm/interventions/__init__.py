"""What changes, as frozen values. How it is computed is the executors' business (`chiasm.models.executors`)."""

from chiasm.interventions.heads import (
    HeadAblation,
    HeadIntervention,
    HeadKnockout,
    HeadSet,
    head_sets,
    names_heads,
    of_each_head,
    parse_heads,
)
from chiasm.interventions.named import (
    Ablation,
    AttentionKnockout,
    Intervention,
    MeanAblation,
    pair_of,
    parse_intervention,
)
from chiasm.interventions.states import StateAblation, replaced
from chiasm.interventions.variants import (
    AveragedKeys,
    BlockedAttention,
    Change,
    Component,
    Patch,
    Site,
    Variant,
    Window,
    ZeroedBranch,
    ZeroedHeads,
    all_windows,
    centred,
    prefixes,
    suffixes,
)
