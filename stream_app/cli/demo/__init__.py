"""`winnow demo`: all of it on this machine, on sample messages."""
