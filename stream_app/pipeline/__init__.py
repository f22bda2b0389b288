"""Layer 3: the steps of the data path, one file a step."""
