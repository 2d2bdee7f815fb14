#!lua flags=allow-oom
-- swap_shared: write the book of shared limits where it stands as it was read.
-- KEYS[1]  root of the book
-- ARGV     1 revision that was read, 0 where none stood | 2 book
-- Returns  1, or 0 where another one stands
--- @include lib/keys
if tonumber(redis.call('HGET', key('b'), 'revision') or 0) ~= tonumber(ARGV[1]) then return 0 end
redis.call('HSET', key('b'), 'revision', string.format('%.0f', ARGV[1] + 1), 'book', ARGV[2])
return 1
