"""Layer 2: records that could not be labelled: reading them, and sending them back."""
