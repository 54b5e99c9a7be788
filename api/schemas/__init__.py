"""What the service answers: one schema for the server, the client and OpenAPI.

Times are seconds since the epoch. A number that JSON can't say is one of the strings NaN, Infinity, -Infinity, so
that a metric which diverged is told apart from one which wasn't reported.
"""
