"""Compiled kernels, each with a twin in plain Python under the same name."""
