"""Labels on their way out: something reads a label topic, and commits once its effect is there."""
