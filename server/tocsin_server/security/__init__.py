"""Who may come in: certificates, and the files that are read anew while the server runs."""
