"""The benchmark behind scripts/bench: measures this module, its peers and the alternatives that users could
choose, side by side in one run.

    cells       the measured combinations: size, connections, keys, hit or miss; and those of a run
    contenders  the measured servers: the nginx configuration of each
    servers     nginx, memcached, Varnish and the application: started, found, ended
    pages       the pages that are stored and served, and the check that a contender serves them
    load        the load: closed loop (wrk, h2load) and open loop (openloop/)
    measure     CPU time, system calls, memory, and the other load of the machine
    memory      the memory of an idle connection and of a waiting request
    run         one contender after the other, repeat by repeat
    figures     medians, spreads, ratios
    bars        the targets
    report      the tables and the JSON file
    chart       the SVG chart
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "testkit" / "python"))
