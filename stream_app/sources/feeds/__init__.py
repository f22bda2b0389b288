"""News feeds: RSS, Atom and JSON Feed, one record an item. Start at `checking.py`."""
