"""Visits the demo site for some seconds, now more and now less, so that there is something to see. Now and then many
visitors ask at once for a page that takes a second, and wait until it is rendered once:

    visits.py http://127.0.0.1:8080 60
"""

import http.client
import math
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit
from urllib.request import urlopen

PAGES = 40
MOST_PER_SECOND = 400
TOGETHER = 12
TOGETHER_EVERY = 3.0


def main() -> None:
    origin, seconds = urlsplit(sys.argv[1]), float(sys.argv[2])
    with ThreadPoolExecutor(3 * TOGETHER) as crowd:
        visit(origin.netloc, seconds, crowd)


def visit(address: str, seconds: float, crowd: ThreadPoolExecutor) -> None:
    connection = http.client.HTTPConnection(address, timeout=10)
    chance, started, crowds = random.Random(1), time.monotonic(), 0
    while (since := time.monotonic() - started) < seconds:
        if since > crowds * TOGETHER_EVERY:
            crowds += 1
            slow = f"http://{address}/by-nginx/slow/?crowd={crowds}"
            for _ in range(chance.randrange(2, TOGETHER)):
                crowd.submit(read, slow)
        # A few pages are asked for by most, and now and then there is a new one.
        is_known = chance.random() < 0.97
        nth = int(chance.expovariate(1 / 8)) % PAGES if is_known else chance.randrange(10**9)
        connection.request("GET", f"/?page=1&n={nth}")
        connection.getresponse().read()
        time.sleep((1.5 + math.sin(since / 3)) / MOST_PER_SECOND)


def read(url: str) -> None:
    with urlopen(url, timeout=10) as response:
        response.read()


if __name__ == "__main__":
    main()
