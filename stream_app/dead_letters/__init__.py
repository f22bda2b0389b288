"""Records that could not be labelled: reading them, and sending them back."""
