"""How one client's list came about, read back from the lake's tables."""
