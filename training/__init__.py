"""The refresher: makes, calibrates and measures the models that the service serves."""
