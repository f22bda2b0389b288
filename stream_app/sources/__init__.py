"""Where messages come from that are not on a topic yet."""
