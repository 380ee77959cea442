"""The measuring harness behind scripts/bench: this module, its peers and what users would pick instead,
side by side in one run.

    cells       what is measured: size, connections, keys, hit or miss; and which cells a run takes
    contenders  who is measured: the nginx configuration of each
    servers     nginx, memcached and Varnish: started, found, ended
    pages       what is stored and served, and the check that a contender serves it
    load        the load: closed loop (wrk) and open loop (openloop/)
    measure     CPU time, system calls, memory, and what else the machine did
    memory      what an idle connection and a waiting request take
    run         one contender after the other, repeat by repeat
    figures     medians, spreads, ratios
    bars        what is to be reached
    report      the tables and the JSON file
    chart       the SVG chart
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "testkit" / "python"))
