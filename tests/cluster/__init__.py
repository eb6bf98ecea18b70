"""The application on a cluster that fails over. Run by `make test-cluster`."""
