"""The language and the formats of a request."""
