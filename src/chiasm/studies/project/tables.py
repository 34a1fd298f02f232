"""The tables of `chiasm project`: from tuning and answering, then from probes on the model's states."""

from chiasm.core.schema import Column, TableSchema
from chiasm.studies.inside.tables import INSIDE

_DOMAIN = Column("domain", "string", "Domain", "", "Name of the classification task.")
_SETTING = Column("setting", "string", "Setting", "", "What was tuned, and how: `chiasm.training.settings`.")
_SEED = Column("seed", "int", "Seed", "", "Of training, of the order of classes in every prompt, of fresh weights.")
_PROJECTOR = Column(
    "projector", "string", "Projector", "", "`own` is the model's; others are put in and aligned first."
)
_ABOUT = (_DOMAIN, _SETTING, _SEED, _PROJECTOR)
_SCORES = (
    Column("macro_f1", "float", "Macro-F1", "", "Mean over the classes that the test has; an invalid answer is none."),
    Column("macro_f1_low", "float", "Macro-F1, low", "", "95 % bootstrap over test images."),
    Column("macro_f1_high", "float", "Macro-F1, high", "", "95 % bootstrap over test images."),
    Column("accuracy", "float", "Accuracy", "", "Share of right answers; an invalid answer is wrong."),
    Column("accuracy_low", "float", "Accuracy, low", "", "95 % Wilson interval."),
    Column("accuracy_high", "float", "Accuracy, high", "", "95 % Wilson interval."),
    Column("n", "int", "Images", "", "Test images."),
)

TUNING = TableSchema.of(
    "tuning",
    *_ABOUT,
    Column("epochs", "float", "Epochs", "", "Passes over the training part."),
    *_SCORES,
    Column("invalid_rate", "float", "Invalid", "", "Share of generated answers that name no class, or several."),
    Column("constrained_macro_f1", "float", "Macro-F1, constrained", "", "Of the most probable class label."),
    Column("constrained_accuracy", "float", "Accuracy, constrained", "", "Of the most probable class label."),
    Column("skill", "float", "General skill", "", "Right answers to held-out scenes after tuning.", nullable=True),
    Column("skill_n", "int", "Scenes", "", "Questions behind the general skill."),
    Column("steps", "int", "Steps", "", "Steps of the optimiser."),
    Column("loss", "float", "Loss", "nat", "Mean over the last fifth of the steps.", nullable=True),
    Column("projector_drift", "float", "Projector drift", "", "||after - before|| / ||before||, its parameters."),
    Column("diverged", "int", "Diverged at", "", "Step whose loss was no number; missing if none.", nullable=True),
)

PREDICTIONS = TableSchema.of(
    "predictions",
    *_ABOUT,
    Column("example_id", "string", "Example", "", "Identifier of the test image."),
    Column("label", "string", "Label", "", "Its class."),
    Column("generated", "string", "Generated", "", "The greedy answer."),
    Column("parsed", "string", "Answer", "", "The class that the answer names; missing if invalid.", nullable=True),
    Column("constrained", "string", "Most probable", "", "The most probable of all class labels."),
)

REFERENCES = TableSchema.of(
    "references",
    _DOMAIN,
    Column("reference", "string", "Reference", "", "What answers: chance, or the tower without a language model."),
    _SEED,
    *_SCORES,
)

ALIGNED = TableSchema.of(
    "aligned",
    _PROJECTOR,
    _SEED,
    Column("parameters", "int", "Parameters", "", "That the projector learns."),
    Column("tokens", "int", "Image tokens", "", "Per image."),
    Column("steps", "int", "Steps", "", "Of the alignment on captions, tower and decoder frozen."),
    Column("loss", "float", "Loss", "nat", "Per token of a caption, over the last fifth of the steps.", nullable=True),
)

_WHERE = Column(
    "where",
    "string",
    "Where",
    "",
    "`cls`: the tower's summary; `pre`, `post`: mean token before and after the projector; `layer.K.image`, "
    "`layer.K.last`: mean image token and last prompt token at hidden state K (0: what enters the first block).",
)
_PROBE = Column("probe", "string", "Probe", "", "`linear`, `mlp-paper` or `mlp-code`: chiasm.measures.probes.")

RICHNESS = TableSchema.of(
    "richness",
    *_ABOUT,
    _WHERE,
    _PROBE,
    *_SCORES,
    Column("information", "float", "V-information", "nat", "About the class, beyond its frequency."),
    Column("information_low", "float", "V-information, low", "nat", "95 % bootstrap over images.", nullable=True),
    Column("information_high", "float", "V-information, high", "nat", "95 % bootstrap over images.", nullable=True),
    Column("epochs", "int", "Epochs", "", "Behind the state of the probe that counts."),
    Column("train_n", "int", "Training images", "", "That the probe has learned from."),
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

PROBED = TableSchema.of(
    "probed",
    *_ABOUT,
    _WHERE,
    _PROBE,
    Column("control", "string", "Control", "", "As in `richness_controls`; missing where it is none.", nullable=True),
    Column("example_id", "string", "Example", "", "Identifier of the test image."),
    Column("label", "string", "Label", "", "Its class."),
    Column("answer", "string", "Answer", "", "The class that the probe names."),
)

REPRESENTATIONS = TableSchema.of(
    "representations",
    *_ABOUT,
    _WHERE,
    Column("against", "string", "Against", "", "`pre`; `before`: the same place before tuning; empty for a rank."),
    Column(
        "quantity",
        "string",
        "Quantity",
        "",
        "`effective_rank`; `cka` (linear, unbiased: 0 for unrelated features); `neighbours`: share of each image's "
        "10 nearest that stay (fewer where images are few).",
    ),
    Column("mean", "float", "Value", "", "Over the test images, at most 512 of them."),
    Column("low", "float", "Low", "", "95 % jackknife (neighbours: bootstrap) over images.", nullable=True),
    Column("high", "float", "High", "", "95 % jackknife (neighbours: bootstrap) over images.", nullable=True),
    Column("null", "float", "By chance", "", "Expected of unrelated features; none for a rank.", nullable=True),
    Column("n", "int", "Images", "", "Test images."),
)

_TUNED, _READ = (TUNING, PREDICTIONS, REFERENCES, ALIGNED), (RICHNESS, RICHNESS_CONTROLS, PROBED, REPRESENTATIONS)
TABLES = (*_TUNED, *_READ, *INSIDE)

# Names in the column `reference`.
RANDOM = "random"  # a class drawn uniformly for each image
TOWER = "tower-zero-shot"  # the label whose contrastive text embedding is nearest
IMAGE_MLP = "image-mlp"  # an MLP on the tower's CLS
IMAGE_LINEAR = "image-linear"  # logistic regression on the tower's CLS
OWN = "own"

# Names in the columns `control`, `against`, `quantity`.
SHUFFLED, RANDOM_PROJECTOR = "shuffled", "random-projector"
BEFORE = "before"
RANK, CKA, NEIGHBOURS = "effective_rank", "cka", "neighbours"
