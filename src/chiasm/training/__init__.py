"""Fine-tuning: which parameters train, on which text, at which rate; the loop is transformers' Trainer."""
