"""Labelled texts: read from files and data sets, split, altered, kept."""
