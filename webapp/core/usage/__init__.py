"""The token requests of clients.

* `recorder`: record token requests in the background
* `queries`, `recent_addresses`: read counts, latest requests and addresses of one client
* `request_log`: search the token requests of an account or a client
* `writer`: the statements that the recorder runs; the demo data uses them too
"""
