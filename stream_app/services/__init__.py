"""Layer 4: parts with a life cycle beside the data path: the guarded consumer, the lag monitor."""
