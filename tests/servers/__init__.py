"""Real servers for the tests, started on loopback; README.md says how to use one and how to add one."""
