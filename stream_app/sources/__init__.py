"""Layer 3: where messages come from that are not on a topic yet."""
