"""The tables of articles and comments; the articles themselves are in fixtures/articles.json."""
