"""The application's side of nginx-pagecache: Django says which pages are served to everybody, stores them or has nginx store
them, and purges them.

The interface of the package: `middleware.PageCacheMiddleware` and `middleware.page_cache`; `tags.tag`; all of
`invalidate`; `admin.PurgeMixin`; and `manage.py pagecache`.
"""
