"""Requests over HTTP: a pool of connections, TLS, proxies, and what the answers of servers mean."""
