"""The benchmark behind scripts/bench: measures this module, its peers and the alternatives that users could
choose, side by side in one run.

    cells       the measured combinations: size, connections, keys, hit or miss; and those of a run
    contenders  the measured servers: the nginx configuration of each
    conf        the whole of nginx's configuration
    servers     nginx, memcached, Varnish and the applications: started, found, ended
    hosts       the servers of a run, each started when it is first needed
    pages       the pages that are stored and served, and the check that a contender serves them
    load        the load: closed loop (wrk, h2load), open loop and bursts (openloop/)
    measure     CPU time, system calls, memory, and the other load of the machine
    memory      the memory of an idle connection and of a waiting request
    stampede    a page that all visitors request at the same moment
    renderer    the application for that, which takes a while to render a page
    run         one contender after the other, repeat by repeat
    figures     medians, spreads, ratios
    bars        the targets
    report      the tables and the JSON file
    chart       the SVG chart
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "testkit" / "python"))
