"""The rules of Identity Clients, without any web framework.

Packages from top to bottom; each imports only from those below it, and import-linter checks it:

* `notifications`, and the module `retention`
* `tokens`, `authentication`
* `clients`
* `secrets`
* `client_changes` (a module)
* `usage`, `audit`
* `rate_limits`
* `accounts` (a module)
* `database`
* the modules `errors`, `i18n`, `addresses`, `credentials` and `paths`

The docstring of each package lists its modules.
"""
