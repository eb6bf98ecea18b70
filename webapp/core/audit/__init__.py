"""The audit log.

* `actions`: what events record
* `events`: record an event in the transaction of the change
* `before_change`: let the host refuse a change
* `queries`: read events
* `export`: read the events of an export; the screens write them as CSV
* `stream`: stream events as JSON lines of OCSF
* `chain`: the hash chain over the events of an account
* `signals`: signals for the host
"""
