"""Looking into snapshots: what differs, what there is, what it costs. Nothing here changes a repository."""
