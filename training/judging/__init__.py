"""Evaluation of a model: scores, figures, calibration, and the card and page that report them."""
