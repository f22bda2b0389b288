"""Parts with a life cycle of their own, around the data path and beside it."""
