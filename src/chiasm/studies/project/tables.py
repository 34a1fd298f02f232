"""The tables of `chiasm project` that come from tuning and answering; those of the probes are in `richness_schemas`."""

from chiasm.core.schema import Column, TableSchema

DOMAIN = Column("domain", "string", "Domain", "", "Name of the classification task.")
SETTING = Column("setting", "string", "Setting", "", "What was tuned, and how: `chiasm.training.settings`.")
SEED = Column("seed", "int", "Seed", "", "Of training, of the order of classes in every prompt, of fresh weights.")
PROJECTOR = Column(
    "projector", "string", "Projector", "", "`own` is the model's; others were put in and aligned first."
)
SCORES = (
    Column("macro_f1", "float", "Macro-F1", "", "Mean over the classes that the test has; an invalid answer is none."),
    Column("macro_f1_low", "float", "Macro-F1, low", "", "95 % bootstrap over test pictures."),
    Column("macro_f1_high", "float", "Macro-F1, high", "", "95 % bootstrap over test pictures."),
    Column("accuracy", "float", "Accuracy", "", "Share of right answers; an invalid answer is wrong."),
    Column("accuracy_low", "float", "Accuracy, low", "", "95 % Wilson interval."),
    Column("accuracy_high", "float", "Accuracy, high", "", "95 % Wilson interval."),
    Column("n", "int", "Pictures", "", "Test pictures."),
)

TUNING = TableSchema(
    "tuning",
    (
        DOMAIN,
        SETTING,
        SEED,
        PROJECTOR,
        Column("epochs", "float", "Epochs", "", "Passes over the training part."),
        *SCORES,
        Column("invalid_rate", "float", "Invalid", "", "Share of generated answers that name no class, or several."),
        Column("constrained_macro_f1", "float", "Macro-F1, constrained", "", "Of the most probable class label."),
        Column("constrained_accuracy", "float", "Accuracy, constrained", "", "Of the most probable class label."),
        Column("skill", "float", "General skill", "", "Right answers to held-out scenes after tuning.", nullable=True),
        Column("skill_n", "int", "Scenes", "", "Questions behind the general skill."),
        Column("steps", "int", "Steps", "", "Steps of the optimiser."),
        Column("loss", "float", "Loss", "nat", "Mean over the last fifth of the steps.", nullable=True),
        Column("projector_drift", "float", "Projector drift", "", "||after - before|| / ||before||, its parameters."),
        Column("diverged", "int", "Diverged at", "", "Step whose loss was no number; missing if none.", nullable=True),
    ),
)

PREDICTIONS = TableSchema(
    "predictions",
    (
        DOMAIN,
        SETTING,
        SEED,
        PROJECTOR,
        Column("example_id", "string", "Example", "", "Identifier of the test picture."),
        Column("label", "string", "Label", "", "Its class."),
        Column("generated", "string", "Generated", "", "The greedy answer."),
        Column("parsed", "string", "Answer", "", "The class that the answer names; missing if invalid.", nullable=True),
        Column("constrained", "string", "Most probable", "", "The most probable of all class labels."),
    ),
)

REFERENCES = TableSchema(
    "references",
    (
        DOMAIN,
        Column("reference", "string", "Reference", "", "Names in `project_schemas`; no language model is involved."),
        SEED,
        *SCORES,
    ),
)

ALIGNED = TableSchema(
    "aligned",
    (
        PROJECTOR,
        SEED,
        Column("parameters", "int", "Parameters", "", "That the projector learns."),
        Column("tokens", "int", "Image tokens", "", "Per picture."),
        Column("steps", "int", "Steps", "", "Of the alignment on captions, tower and decoder frozen."),
        Column(
            "loss",
            "float",
            "Loss",
            "nat",
            "Per token of a caption, mean over the last fifth of the steps; missing where nothing is learned.",
            nullable=True,
        ),
    ),
)

PROJECT = (TUNING, PREDICTIONS, REFERENCES, ALIGNED)

# Names in the column `reference`.
RANDOM = "random"  # a class drawn uniformly for each picture
TOWER = "tower-zero-shot"  # the label whose contrastive text embedding is nearest
IMAGE_MLP = "image-mlp"  # an MLP on the tower's CLS
IMAGE_LINEAR = "image-linear"  # logistic regression on the tower's CLS
OWN = "own"
