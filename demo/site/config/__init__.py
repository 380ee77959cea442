"""The demo site as a whole: settings, URLs, and the entry point for uWSGI."""
