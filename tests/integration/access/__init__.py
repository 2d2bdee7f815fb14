"""Who comes in, and how: TLS, principals, the audit log, and what a production insists on; through real servers."""
