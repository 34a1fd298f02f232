"""Weights that can be left out: Wanda and what it is compared with, common subnetworks, reversible masks, export."""
