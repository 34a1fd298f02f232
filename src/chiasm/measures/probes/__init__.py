"""Probes: classifiers that say what can be read from a representation, trained in batches."""
