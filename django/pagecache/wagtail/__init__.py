"""Purges the pages of a Wagtail site when editors change them. Add "pagecache.wagtail" to INSTALLED_APPS, behind
"pagecache".

| file | owns |
|---|---|
| `wagtail_hooks` | the tags of each page that Wagtail serves |
| `names` | the names of these tags |
| `urls` | the URLs of a page, in each site |
| `references` | the pages that show an image, a document or a snippet |
| `purge` | the purges of pages |
| `on_change` | the signals of Wagtail and Django at which they are made |
| `backend` | a backend of `wagtail.contrib.frontend_cache`, for the URLs that a site purges itself |
"""
