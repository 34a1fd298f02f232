"""The tables of `chiasm project` that come from probes: what can be read from the model's states, and their shape."""

from chiasm.core.schema import Column, TableSchema
from chiasm.studies.project.tables import DOMAIN, PROJECTOR, SCORES, SEED, SETTING

_WHERE = Column(
    "where",
    "string",
    "Where",
    "",
    "`cls`: the tower's summary; `pre`, `post`: mean token before and after the projector; `layer.K.image`, "
    "`layer.K.last`: mean image token and last prompt token at hidden state K (0: what enters the first block).",
)
_PROBE = Column("probe", "string", "Probe", "", "`linear`, `mlp-paper` or `mlp-code`: chiasm.measures.probes.")

RICHNESS = TableSchema(
    "richness",
    (
        DOMAIN,
        SETTING,
        SEED,
        PROJECTOR,
        _WHERE,
        _PROBE,
        *SCORES,
        Column("information", "float", "V-information", "nat", "About the class, beyond its frequency."),
        Column("information_low", "float", "V-information, low", "nat", "95 % bootstrap over pictures.", nullable=True),
        Column(
            "information_high", "float", "V-information, high", "nat", "95 % bootstrap over pictures.", nullable=True
        ),
        Column("epochs", "int", "Epochs", "", "Behind the state of the probe that counts."),
        Column("train_n", "int", "Training pictures", "", "That the probe has learned from."),
    ),
)

RICHNESS_CONTROLS = RICHNESS.plus(
    "richness_controls",
    Column(
        "control",
        "string",
        "Control",
        "",
        "`shuffled`: the probe has learned labels in random order; `random-projector`: the entries of each of the "
        "projector's parameters are in random order.",
    ),
)

PROBED = TableSchema(
    "probed",
    (
        DOMAIN,
        SETTING,
        SEED,
        PROJECTOR,
        _WHERE,
        _PROBE,
        Column(
            "control", "string", "Control", "", "As in `richness_controls`; missing for probes proper.", nullable=True
        ),
        Column("example_id", "string", "Example", "", "Identifier of the test picture."),
        Column("label", "string", "Label", "", "Its class."),
        Column("answer", "string", "Answer", "", "The class that the probe names."),
    ),
)

REPRESENTATIONS = TableSchema(
    "representations",
    (
        DOMAIN,
        SETTING,
        SEED,
        PROJECTOR,
        _WHERE,
        Column(
            "against",
            "string",
            "Against",
            "",
            "`pre`: what the projector reads; `before`: the same place before tuning; empty for effective rank.",
        ),
        Column(
            "quantity",
            "string",
            "Quantity",
            "",
            "`effective_rank`; `cka` (linear, unbiased: 0 for unrelated clouds); `neighbours`: share of each picture's "
            "10 nearest that stay (fewer where pictures are few).",
        ),
        Column("mean", "float", "Value", "", "Over the test pictures, at most 512 of them."),
        Column("low", "float", "Low", "", "95 % jackknife (neighbours: bootstrap) over pictures.", nullable=True),
        Column("high", "float", "High", "", "95 % jackknife (neighbours: bootstrap) over pictures.", nullable=True),
        Column("null", "float", "By chance", "", "Expected of unrelated clouds; none for a rank.", nullable=True),
        Column("n", "int", "Pictures", "", "Test pictures."),
    ),
)

RICH = (RICHNESS, RICHNESS_CONTROLS, PROBED, REPRESENTATIONS)

# Names in the columns `control`, `against`, `quantity`.
SHUFFLED, RANDOM_PROJECTOR = "shuffled", "random-projector"
BEFORE = "before"
RANK, CKA, NEIGHBOURS = "effective_rank", "cka", "neighbours"
