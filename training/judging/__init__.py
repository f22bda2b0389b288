"""What a model is worth: scores, figures, calibration, and the card and page that tell them."""
