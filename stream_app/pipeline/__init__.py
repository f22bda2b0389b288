"""The steps of the data path, one file a step, and what travels through them."""
