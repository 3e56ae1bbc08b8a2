"""Objects of a repository explained down to the byte: what a target names, and what stands in it. Nothing here changes one."""
