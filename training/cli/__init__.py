"""The commands of `winnow-train`, by what they do."""
