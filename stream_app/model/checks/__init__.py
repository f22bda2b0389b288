"""A model's files, checked before a library reads them: paths and sizes, config, tokenizer."""
