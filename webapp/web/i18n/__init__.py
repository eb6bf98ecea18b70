"""The language of a request, and the formats of dates and times in it."""
