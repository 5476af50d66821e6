"""Campaign audiences: which clients a set of articles, a theme or a segment suits, asked for in a brief."""
