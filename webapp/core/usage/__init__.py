"""The token requests of clients.

Recorded in the background:

* `recorder`: the thread that writes, and how much one write takes
* `pending`: the outcomes that wait in memory
* `writer`: what one write consists of; the demo data uses it too
* `counts`, `stored_requests`, `refusal_days`, `last_uses`: the tables that it writes
* `bulk`: write many rows

Read by the screens and the API:

* `queries`, `recent_addresses`: read counts, latest requests and addresses of one client
* `request_log`: search the token requests of an account or a client
"""
