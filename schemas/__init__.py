"""Record types and their Arrow schemas: the contracts between all other packages."""
