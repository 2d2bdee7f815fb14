#!lua flags=no-writes
-- read_shared: the book of shared limits (store/shared_book.py).
-- KEYS[1]  root of the book
-- Returns  {now_ms, revision or false, book or false}
--- @include lib/keys lib/clock
local found = redis.call('HMGET', key('b'), 'revision', 'book')
return {NOW, found[1], found[2]}
