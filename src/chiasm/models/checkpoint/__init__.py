"""Whether a checkpoint is what it says: its files, its configuration, its processor, and what of it was loaded."""
