"""How ``inspect`` shows an object: as a tree of regions, as annotated bytes, as JSON."""
