"""A page a module: what it asks the API, and what its template is given."""
