"""The audit log.

* `actions`: what events record
* `events`: record an event in the transaction of the change
* `before_change`: let the host refuse a change
* `query`: the filters, as the URL carries them
* `filters`: the filters as conditions
* `pages`: read events, a page at a time
* `export`: read the events of an export; the screens write them as CSV
* `stream`, `ocsf`: stream events as JSON lines of OCSF
* `chain`: the hash chain over the events of an account
* `signals`: signals for the host
"""
