"""The database.

Modules for the other packages of core, the screens and the endpoint:

* `engine`: create the engine, or adapt the host's
* `unit_of_work`: open sessions and connections; only `unit_of_work` commits
* `models`: the tables
* `outcomes`: the stored outcomes of token requests
* `errors`: translate errors of the driver, and name violated constraints
* `time_limits`: bound how long a statement may wait for the server
* `readiness`: check whether the database can be used
* `search_index`: the index that finds clients by a part of a text
* `cursors`: encode and decode pagination cursors
* `distinct_values`: the values of a column, for the choices of a filter
* `fast_reads`: run compiled statements on the driver, for the token endpoint
* `migrations`, `backup`: what the commands run

`engine` uses `sqlite` and `postgresql`, and `models` uses `types`.
"""
