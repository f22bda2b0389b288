"""What a model is: artifact on disk, tokenizer, text preparation, decision rule."""
