"""The tables of `chiasm project`: from tuning and answering, then from probes on the model's states."""

from chiasm.core.schema import TableSchema, flag, integer, number, text
from chiasm.studies.inside.tables import INSIDE

SMALLEST = 0.05
"""The smallest effect worth naming: of macro-F1, of accuracy, of shares."""

_DOMAIN = text("domain", "Domain", "Name of the classification task.")
_SETTING = text("setting", "Setting", "What was tuned, and how: `chiasm.training.settings`.")
_SEED = integer("seed", "Seed", "Of training, of the order of classes in every prompt, of fresh weights.")
_PROJECTOR = text("projector", "Projector", "`own` is the model's; others are put in and aligned first.")
_ABOUT = (_DOMAIN, _SETTING, _SEED, _PROJECTOR)
_SCORES = (
    number("macro_f1", "Macro-F1", "Mean over the classes that the test has; an invalid answer is none."),
    number("macro_f1_low", "Macro-F1, low", "95 % score interval over test images."),
    number("macro_f1_high", "Macro-F1, high", "95 % score interval over test images."),
    number("accuracy", "Accuracy", "Share of right answers; an invalid answer is wrong."),
    number("accuracy_low", "Accuracy, low", "95 % Wilson interval."),
    number("accuracy_high", "Accuracy, high", "95 % Wilson interval."),
    integer("n", "Images", "Test images."),
)

TUNING = TableSchema.of(
    "tuning",
    *_ABOUT,
    number("epochs", "Epochs", "Passes over the training part."),
    *_SCORES,
    number("invalid_rate", "Invalid", "Share of generated answers that name no class, or several."),
    number("constrained_macro_f1", "Macro-F1, constrained", "Of the most probable class label."),
    number("constrained_accuracy", "Accuracy, constrained", "Of the most probable class label."),
    number("skill", "General skill", "Right answers to held-out scenes after tuning.", nullable=True),
    integer("skill_n", "Scenes", "Questions behind the general skill."),
    integer("steps", "Steps", "Steps of the optimiser."),
    number("loss", "Loss", "Mean over the last fifth of the steps.", unit="nat", nullable=True),
    number("projector_drift", "Projector drift", "||after - before|| / ||before||, its parameters."),
    integer("diverged", "Diverged at", "Step whose loss was no number; missing if none.", nullable=True),
)

PREDICTIONS = TableSchema.of(
    "predictions",
    *_ABOUT,
    text("example_id", "Example", "Identifier of the test image."),
    text("label", "Label", "Its class."),
    text("generated", "Generated", "The greedy answer."),
    text("parsed", "Answer", "The class that the answer names; missing if invalid.", nullable=True),
    text("constrained", "Most probable", "The most probable of all class labels."),
)

SKILLS = TableSchema.of(
    "skills",
    *_ABOUT,
    text("example_id", "Scene", "Identifier of the held-out scene: the same ones in every setting."),
    text("input", "Input", "Which image it asks about."),
    text("answer", "Answer", "The labelled one."),
    text("generated", "Generated", "The greedy answer."),
    flag("correct", "Correct", "Equal after stripping and lower-casing."),
)

REFERENCES = TableSchema.of(
    "references",
    _DOMAIN,
    text(
        "reference",
        "Reference",
        "What answers without a language model. `random`: uniform guessing, its expectation over all guesses (not one "
        "draw), and bounds between which 95 % of draws lie; else the tower, or a classifier on it.",
    ),
    _SEED,
    *_SCORES,
)

ALIGNED = TableSchema.of(
    "aligned",
    _PROJECTOR,
    _SEED,
    integer("parameters", "Parameters", "That the projector learns."),
    integer("tokens", "Image tokens", "Per image."),
    integer("steps", "Steps", "Of the alignment on captions, tower and decoder frozen."),
    number("loss", "Loss", "Per token of a caption, over the last fifth of the steps.", unit="nat", nullable=True),
)

_WHERE = text(
    "where",
    "Where",
    "`cls`: the tower's summary; `pre`, `post`: mean token before and after the projector; `layer.K.image`, "
    "`layer.K.last`: mean image token and last prompt token at hidden state K (0: what enters the first block).",
)
_PROBE = text("probe", "Probe", "`linear`, `mlp-paper` or `mlp-code`: chiasm.measures.probes.")

RICHNESS = TableSchema.of(
    "richness",
    *_ABOUT,
    _WHERE,
    _PROBE,
    *_SCORES,
    number("information", "V-information", "About the class, beyond its frequency.", unit="nat"),
    number("information_low", "V-information, low", "95 % bootstrap over images.", unit="nat", nullable=True),
    number("information_high", "V-information, high", "95 % bootstrap over images.", unit="nat", nullable=True),
    integer("epochs", "Epochs", "Behind the state of the probe that counts."),
    integer("train_n", "Training images", "That the probe has learned from."),
)

RICHNESS_CONTROLS = RICHNESS.plus(
    "richness_controls",
    text(
        "control",
        "Control",
        "`shuffled`: the probe has learned labels in random order; `random-projector`: the entries of each of the "
        "projector's parameters are in random order.",
    ),
)

PROBED = TableSchema.of(
    "probed",
    *_ABOUT,
    _WHERE,
    _PROBE,
    text("control", "Control", "As in `richness_controls`; missing where it is none.", nullable=True),
    text("example_id", "Example", "Identifier of the test image."),
    text("label", "Label", "Its class."),
    text("answer", "Answer", "The class that the probe names."),
)

REPRESENTATIONS = TableSchema.of(
    "representations",
    *_ABOUT,
    _WHERE,
    text("against", "Against", "`pre`; `before`: the same place before tuning; empty for a rank."),
    text(
        "quantity",
        "Quantity",
        "`effective_rank`; `cka` (linear, unbiased: 0 for unrelated features); `neighbours`: share of each image's "
        "10 nearest that stay (fewer where images are few).",
    ),
    number("mean", "Value", "Over the test images, at most 512 of them."),
    number("low", "Low", "95 % jackknife (neighbours: bootstrap) over images.", nullable=True),
    number("high", "High", "95 % jackknife (neighbours: bootstrap) over images.", nullable=True),
    number("null", "By chance", "Expected of unrelated features; none for a rank.", nullable=True),
    integer("n", "Images", "Test images."),
)

_TUNED, _READ = (
    (TUNING, PREDICTIONS, SKILLS, REFERENCES, ALIGNED),
    (RICHNESS, RICHNESS_CONTROLS, PROBED, REPRESENTATIONS),
)
TABLES = (*_TUNED, *_READ, *INSIDE)

# Names in the column `reference`.
RANDOM = "random"  # uniform guessing: what it gives on average
TOWER = "tower-zero-shot"  # the label whose contrastive text embedding is nearest
IMAGE_MLP = "image-mlp"  # an MLP on the tower's CLS
IMAGE_LINEAR = "image-linear"  # logistic regression on the tower's CLS
OWN = "own"

# Names in the columns `control`, `against`, `quantity`.
SHUFFLED, RANDOM_PROJECTOR = "shuffled", "random-projector"
BEFORE = "before"
RANK, CKA, NEIGHBOURS = "effective_rank", "cka", "neighbours"
