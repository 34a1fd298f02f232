"""Plain nouns shared by everything above. Nothing here knows torch, a model, or a file format of ours."""
