"""Where handlers run: on event loops, in threads, in processes of their own. The protocol is Runner, in attempt.py."""
