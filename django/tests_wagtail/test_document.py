"""docs/wagtail.md, followed: the project with its settings behind nginx with its configuration."""

import atexit
import re
import tempfile
import threading
import unittest
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, make_server

from tests_wagtail import project

from django.contrib.auth import get_user_model
from django.core.wsgi import get_wsgi_application
from django.urls import reverse
from pymemcache.client.base import Client as MemcachedClient
from wagtail.models import Page

from tests import processes
from tests_wagtail.visits import Visitor


class Nginx(processes.Nginx):
    """nginx with the document's configuration."""

    def __init__(self, application):
        port = processes.free_port()
        self._prefix = tempfile.TemporaryDirectory(prefix="pagecache-nginx-")
        folder = Path(self._prefix.name)
        (folder / "temp").mkdir()
        said = project.block("nginx")
        own = {"127.0.0.1:11211": project.MEMCACHED, "127.0.0.1:8000": application, " 80;": f" 127.0.0.1:{port};"}
        for old, new in own.items():
            assert old in said, old
            said = said.replace(old, new)
        around = processes._configuration(folder, port, "", "", "return 404;")
        head = around[: re.search(r"\n *server \{", around).start()]
        (folder / "nginx.conf").write_text(f"{head}\n{said}}}\n", encoding="utf-8")
        self._log = folder / "error.log"
        command = [processes._nginx(), "-p", str(folder), "-e", str(self._log), "-c", str(folder / "nginx.conf")]
        processes.Server.__init__(self, command, port)


class Silent(WSGIRequestHandler):
    def log_message(self, *_):
        pass


class Followed(unittest.TestCase):
    def setUp(self):
        memcached = MemcachedClient(project.MEMCACHED)
        self.addCleanup(memcached.close)
        memcached.flush_all(noreply=False)
        wagtail = make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=Silent)
        thread = threading.Thread(target=wagtail.serve_forever)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(wagtail.server_close)
        self.addCleanup(wagtail.shutdown)
        self.nginx = Nginx(f"127.0.0.1:{wagtail.server_port}")
        self.addCleanup(atexit.unregister, self.nginx.stop)
        self.addCleanup(self.nginx.stop)

    def visit(self, target):
        response = self.nginx.get(target, {"Host": "localhost"})
        self.assertEqual(response.status, 200)
        title = re.search(rb"<title>\s*(.*?)\s*</title>", response.body, re.DOTALL)[1].decode()
        return response.headers["X-Cache"], title

    def publish(self, title):
        """As an editor does, in Wagtail's admin."""
        home = Page.objects.get(slug="home", depth=2)
        fields = {"title": title, "slug": "home", "comments-TOTAL_FORMS": 0, "comments-INITIAL_FORMS": 0}
        response = self.editor.post(reverse("wagtailadmin_pages:edit", args=[home.pk]), {**fields, "action-publish": "1"})
        self.assertEqual(response.status_code, 302)

    def test_an_editor_publishes_and_the_next_visitor_sees_it(self):
        user = get_user_model().objects.create_superuser("first", "first@example.com", "a")
        self.addCleanup(user.delete)
        self.editor = Visitor(headers={"Host": "localhost"})
        self.editor.force_login(user)
        self.addCleanup(self.publish, "Home")
        targets = ("/", "/?page=3")
        self.assertEqual([self.visit(target) for target in targets], [("MISS", "Home")] * 2)
        self.assertEqual(self.visit("/?utm_source=mail"), ("HIT", "Home"))
        for title in ("First", "Second"):
            self.publish(title)
            self.assertEqual([self.visit(target)[1] for target in targets], [title] * 2)
            self.assertEqual([self.visit(target) for target in targets], [("HIT", title)] * 2)


if __name__ == "__main__":
    unittest.main()
