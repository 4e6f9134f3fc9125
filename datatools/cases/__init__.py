"""Patient cases: read from whatever holds them, cut into facts, and played by personas."""
