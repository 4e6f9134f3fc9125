"""What the user sees: progress, summary, tables."""
