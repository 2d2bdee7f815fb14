"""Other job queues on Redis, measured beside Tocsin in one run: `python tests/bench --only-peers --help`."""
