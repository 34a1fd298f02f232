"""Weights that can be left out: Wanda and its baselines, common subnetworks, reversible masks, export."""
