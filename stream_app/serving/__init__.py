"""A model that serves: loaded, warmed up, tried on a canary, replaced by another."""
