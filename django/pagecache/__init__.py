"""The application's side of nginx-pagecache: Django writes the pages that nginx serves.

What a site uses: `middleware.PageCacheMiddleware` or `middleware.page_cache`, and
`invalidate.invalidate` and `invalidate.invalidate_object`.
"""
