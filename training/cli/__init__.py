"""The commands of `winnow-train`, a file each; `lab` is a group."""
