"""Values and rules that hold for every source and destination; imports nothing of ours but errors."""
