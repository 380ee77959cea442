"""The application's side of nginx-pagecache: Django writes the pages that nginx serves.

The interface of the package: `middleware.PageCacheMiddleware` or `middleware.page_cache`; `invalidate.invalidate`,
`invalidate_object` and `invalidate_on_change`; and `manage.py pagecache`.
"""
