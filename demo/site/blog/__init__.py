"""Articles with comments: the pages of the demo site."""
