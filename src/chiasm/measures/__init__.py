"""What is read from a model's states: streaming measures whose parts, taken in any order, add up to the whole."""
