"""Where inside a model an answer about an image comes from: attribution, neurons, concepts."""
