"""From feedback to a promoted model: pull, merge, fit, judge, register."""
