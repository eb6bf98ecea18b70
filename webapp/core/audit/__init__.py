"""The audit log.

* `actions`: what events record
* `events`: record an event in the transaction of the change
* `queries`: read events
* `export`: export events as CSV
* `signals`: signals for the host
"""
