"""Native (compiled) parts, in rooms by subject, each with a twin in Python under the same name."""
