"""Rescue: what is damaged in a repository, what that costs, and how to bring back everything that is still there."""
