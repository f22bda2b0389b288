"""Layer 1: what a model is: artifact on disk, tokenizer, text preparation, decision rule."""
