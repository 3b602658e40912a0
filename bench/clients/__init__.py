"""Which HTTP client costs the gateway least CPU per request? `python -m bench.clients` answers for this machine.

Three processes: a mock upstream (fixed delay), a bare FastAPI proxy that fans each client request out through the
client under test, and a closed-loop load generator. The figure is the proxy's own CPU time per client request.
"""
