"""The only home of transformers' internals: views over models, families, prompts and spans, executors."""
