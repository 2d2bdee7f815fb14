#!lua flags=no-writes
-- calendars: all calendars by name.
-- KEYS[1]  root of the calendars
-- ARGV     1 the name after which they begin, "" with the first | 2 how many at most
-- Returns  {{name, revision and calendar}, ...}
-- Bounds   the caller asks for at most 20, some 300 KiB each
--- @include lib/keys
local found, from = {}, ARGV[1] == '' and '-' or '(' .. ARGV[1]
for _, name in ipairs(redis.call('ZRANGEBYLEX', key('n'), from, '+', 'LIMIT', 0, ARGV[2])) do
  found[#found + 1] = {name, redis.call('HGET', key('c'), name)}
end
return found
