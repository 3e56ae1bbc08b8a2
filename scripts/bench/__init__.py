"""The speed of whole programs, side by side."""
