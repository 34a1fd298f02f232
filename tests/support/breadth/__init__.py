"""A small random model of any multimodal type that transformers maps, with a real processor, made by rules."""
