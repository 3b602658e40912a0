"""All I/O and the composition root: HTTP routes, wire schemas, backends, the live driver, metrics, settings."""
