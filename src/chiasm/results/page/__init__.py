"""The page of a run: one file that answers the run's questions from top to bottom, and asks nothing of a network."""
