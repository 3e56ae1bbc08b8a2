"""A server of repositories for restic and programs like it, by restic's REST API."""
