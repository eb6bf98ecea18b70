"""The rules of Identity Clients, without any web framework.

The packages and modules form layers, and each imports only from those below it: the contract is in `pyproject.toml`,
the drawing in `docs/architecture.md`. The docstring of each package lists its modules.
"""
