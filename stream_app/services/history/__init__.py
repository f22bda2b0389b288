"""Which log an offset belongs to: a log can go back, and a topic be made again."""
