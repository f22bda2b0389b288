"""Kafka by kafka-python, for commands and the trainer; the worker consumes by Faust."""
