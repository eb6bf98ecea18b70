"""Identity clients: create, edit, enable, delete; validation, roles, listing, attention, networks."""
