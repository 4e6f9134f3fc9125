"""Units of work, the manifest, and the executors that run units."""
