"""The token requests of clients.

* `recorder`: record token requests in the background
* `queries`, `recent_addresses`: read what was recorded
* `writer`: the statements that the recorder runs; the demo data uses them too
"""
