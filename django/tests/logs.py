"""The logs of purges, as another program reads them."""

import re
import time

from tests import site
from tests.cases import memcached_at


def log_of(address=site.MEMCACHED, zone="/test-"):
    """(epoch, header's hard purges, lines), or None; each line is checked."""
    client = memcached_at(address)
    try:
        value = client.get(f"pagecache:purges:{zone}")
    finally:
        client.close()
    if value is None:
        return None
    header, *lines = value.decode(errors="surrogateescape").removesuffix("\n").split("\n")
    epoch, carried = re.fullmatch("E([0-9a-f]{16}) 0((?: [0-9]+ [^ ]+)*)", header).groups()
    read = []
    for line in filter(None, lines):
        kind, made, target = re.fullmatch(r"([sh]) ([0-9]+) ([ku]:[!-\uffff]+|t:[0-9a-f]{16}|\*)", line).groups()
        assert abs(int(made) - time.time()) < 60, line
        read.append(f"{kind} {target}")
    return epoch, carried.split()[1::2], read


def lines_of(address=site.MEMCACHED, zone="/test-"):
    found = log_of(address, zone)
    return found[2] if found else []
