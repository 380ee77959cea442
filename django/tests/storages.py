"""Message storages of a site's own."""

from django.contrib.messages.storage.base import BaseStorage


class ListOfMessages(BaseStorage):
    """A storage of a site's own, which leaves no trace in cookies or session, and empties its list in place."""

    waiting = []

    def _get(self, *args, **kwargs):
        return self.waiting, True

    def _store(self, messages, response, *args, **kwargs):
        self.waiting[:] = list(messages)
        return []


class MessagesAtOnce(ListOfMessages):
    """One that does not wait for the answer, and notes nothing of its use."""

    def add(self, level, message, extra_tags=""):
        self.waiting.append(message)

    def __iter__(self):
        shown, self.waiting[:] = list(self.waiting), []
        return iter(shown)
