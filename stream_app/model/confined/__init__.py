"""The model registry, asked in a process of its own."""
