"""Finding texts that say the same."""
