"""A model of somebody's own labels, from nothing but examples: `winnow-train fit --examples`."""
