"""Winnow: labels text as it flows through Kafka.

Importing this package is cheap: torch and transformers are imported only where a model is loaded.
"""

__version__ = "0.2.0"
