"""Looking after a repository: verifying it, and saying what a fault means and what mends it."""
