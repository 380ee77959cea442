"""Visits the demo site for some seconds, now more and now less, so that there is something to see:

    visits.py http://127.0.0.1:8080 60
"""

import http.client
import math
import random
import sys
import time
from urllib.parse import urlsplit

PAGES = 40
MOST_PER_SECOND = 400


def main() -> None:
    origin, seconds = urlsplit(sys.argv[1]), float(sys.argv[2])
    connection = http.client.HTTPConnection(origin.netloc, timeout=10)
    chance, started = random.Random(1), time.monotonic()
    while (since := time.monotonic() - started) < seconds:
        # A few pages are asked for by most, and now and then there is a new one.
        is_known = chance.random() < 0.97
        nth = int(chance.expovariate(1 / 8)) % PAGES if is_known else chance.randrange(10**9)
        connection.request("GET", f"/?page=1&n={nth}")
        connection.getresponse().read()
        time.sleep((1.5 + math.sin(since / 3)) / MOST_PER_SECOND)


if __name__ == "__main__":
    main()
