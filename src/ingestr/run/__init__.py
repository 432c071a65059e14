"""One run: what it is going to do, the load, the comparison of both sides. Knows no platform and no engine."""
