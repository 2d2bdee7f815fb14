-- offset: by how much a clock that is moved by hand is ahead. Only the scripts of such a store hold this (scripts.py).
NOW = NOW + (redis.call('GET', CLOCK) or 0)
