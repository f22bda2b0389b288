"""Labelled items as Atom and JSON feeds: `effect.py` collects, `http.py` serves."""
