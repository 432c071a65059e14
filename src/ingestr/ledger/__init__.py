"""What ingestr keeps of its own in the schema ``_ingestr`` of a destination. Knows no platform and no engine."""
