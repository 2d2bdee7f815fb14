#!lua flags=no-writes
-- ping: the store's now.
-- KEYS[1]  any key of the namespace; a cluster asks the node that has it
-- Returns  now_ms
--- @include lib/clock
return NOW
