"""From examples to what a model takes in: prompts, spans, places of patches, batches."""
