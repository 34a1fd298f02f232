"""The only home of transformers' internals: views over models, families, prompts and spans, executors."""

import warnings

# Of tqdm, which transformers imports: that notebooks without ipywidgets have no bars of its kind, which are off anyway.
warnings.filterwarnings("ignore", message="IProgress not found")
