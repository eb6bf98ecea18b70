"""Identity clients.

* `service`: create and edit a client
* `delete`, `enable`, `allowed_networks`: the other changes of a client
* `bulk`: change several clients at once
* `review`: the access review
* `validation`: check the fields of a form
* `client_ids`: look up whether a client ID is in use
* `roles`: the catalogue of API roles
* `listing`: the list with its search, filters, order and pages
* `attention`, `attention_queries`: which clients need attention, and why
"""
