"""Stores pages through pylibmc: "default", "ketama", "ketama_weighted" or "crc"."""

import sys

import pylibmc

BEHAVIORS = {
    "default": {},
    "ketama": {"ketama": True},
    "ketama_weighted": {"ketama_weighted": True},
    "crc": {"hash": "crc"},
}

mode, *servers = sys.argv[1:]
pages = pylibmc.Client(servers, behaviors=BEHAVIORS[mode])

for line in sys.stdin.buffer:
    key, page = line.rstrip(b"\n").split(b"\t", 1)
    if not pages.set(key, page, time=300):
        sys.exit(f"not stored: {key}")
