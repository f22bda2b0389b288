"""Better encoders, recipes and models: for who has time to try things out."""
