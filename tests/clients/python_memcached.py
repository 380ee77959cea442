"""Stores pages through python-memcached."""

import sys

import memcache


def with_weight(server):
    host, port, *weight = server.split(":")
    return (f"{host}:{port}", int(weight[0])) if weight else server


pages = memcache.Client([with_weight(server) for server in sys.argv[1:]])

for line in sys.stdin.buffer:
    key, page = line.rstrip(b"\n").split(b"\t", 1)
    if not pages.set(key, page, time=300):
        sys.exit(f"not stored: {key}")
