"""From a recipe to a sealed model: the encoder, what it learns, and the parts beside it."""
