"""Labels to a program by signed HTTP requests: `effect.py` decides on them, `request.py` sends."""
