"""Runs on disk, tables with their meaning inside, and figures, sentences and reports as functions of tables."""
