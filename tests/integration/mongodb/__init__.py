"""What only MongoDB can do to its store: logins, faults, plans, clocks, servers without change streams."""
