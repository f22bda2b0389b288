"""Labels to a table of PostgreSQL: `effect.py` writes them, `table.py` has the schema."""
