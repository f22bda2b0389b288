"""What a researcher tries: better encoders, recipes and models."""
