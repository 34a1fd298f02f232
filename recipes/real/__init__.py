"""How a pretrained language model is given eyes: a projector trained onto the frozen SmolLM2-135M-Instruct."""
