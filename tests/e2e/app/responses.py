"""A WSGI application whose responses are files, so that a test decides what it sends.

E2E_RESPONSES is the folder. The response for a path is the JSON object in the file of that path, quoted, or, if there
is no such file, a page that may be stored for ten minutes. In a body, @RENDER@ becomes eight characters that no other
render has, and @ECHO@ the request as the application got it, one `name=value` a line. Each request appends a JSON
object with the same to the file E2E_REQUESTS.

The object's members:

    status     "200 OK"
    headers    [[name, value], ...]
    body       the body, a character for each byte
    dies       after how many bytes of the body the process is killed
    waits      true: it waits for a file "released" beside the responses, for 30 s at most
    stores     [address, key, seconds]: it stores the body in memcached by a plain `set`, before it sends it
    late       true: it stores the body when it has sent it
    unchanged  the response to a request with If-None-Match or If-Modified-Since
"""

import json
import os
import signal
import socket
import time
from urllib.parse import quote

DEFAULT = {
    "status": "200 OK",
    "headers": [["Content-Type", "text/html"], ["Cache-Control", "max-age=600"]],
    "body": "render=@RENDER@\n@ECHO@",
}

# Bytes in a chunk of Transfer-Encoding: chunked.
CHUNK = 7

REQUESTS = os.open(os.environ["E2E_REQUESTS"], os.O_WRONLY | os.O_APPEND)


def application(environ, start_response):
    seen = {
        name: value
        for name, value in sorted(environ.items())
        if name.startswith("HTTP_") or name in ("REQUEST_METHOD", "REQUEST_URI", "QUERY_STRING", "PATH_INFO")
    }
    response = DEFAULT
    file = os.path.join(os.environ["E2E_RESPONSES"], quote(environ["PATH_INFO"], safe=""))
    if os.path.exists(file):
        with open(file) as text:
            response = json.load(text)
    # who waits for the request may set another response for the next one
    os.write(REQUESTS, json.dumps(seen).encode() + b"\n")
    if "HTTP_IF_NONE_MATCH" in environ or "HTTP_IF_MODIFIED_SINCE" in environ:
        response = response.get("unchanged") or response
    if response.get("waits"):
        wait()
    echo = "".join(f"{name}={value}\n" for name, value in seen.items())
    body = response["body"].replace("@RENDER@", os.urandom(4).hex()).replace("@ECHO@", echo).encode("latin-1")
    stores = response.get("stores")
    if stores and not response.get("late"):
        store(body, *stores)
    headers = [tuple(header) for header in response["headers"]]
    parts = [body]
    has_body = response["status"][:3] not in ("204", "304") and environ["REQUEST_METHOD"] != "HEAD"
    framing = environ.get("HTTP_X_TEST_FRAMING") or environ.get("X_TEST_FRAMING")
    if framing == "chunked" and has_body:
        headers.append(("Transfer-Encoding", "chunked"))
        chunks = [body[start : start + CHUNK] for start in range(0, len(body), CHUNK)]
        parts = [b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks] + [b"0\r\n\r\n"]
    elif framing != "none" and response["status"][:3] not in ("204", "304"):
        headers.append(("Content-Length", str(len(body))))
    start_response(response["status"], headers)
    sent = send(parts if has_body else [], response.get("dies"))
    return store_after(sent, body, stores) if response.get("late") else sent


def wait():
    end = time.monotonic() + 30
    while not os.path.exists(os.path.join(os.environ["E2E_RESPONSES"], "released")) and time.monotonic() < end:
        time.sleep(0.005)


def store(body, address, key, seconds):
    host, port = address.split(":")
    try:
        with socket.create_connection((host, int(port)), timeout=1) as memcached:
            memcached.sendall(b"set %s 0 %d %d\r\n%s\r\n" % (key.encode(), seconds, len(body), body))
            memcached.recv(100)
    except OSError:
        # the page is sent all the same
        pass


def store_after(sent, body, stores):
    yield from sent
    store(body, *stores)


def send(parts, dies):
    left = dies
    for part in parts:
        if left is not None and len(part) >= left:
            yield part[:left]
            # a process that is killed says nothing more, to nobody
            os.kill(os.getpid(), signal.SIGKILL)
        left = None if left is None else left - len(part)
        yield part
