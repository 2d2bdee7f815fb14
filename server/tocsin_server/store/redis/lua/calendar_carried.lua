#!lua flags=allow-oom
-- calendar_carried: all users know of this revision of a calendar.
-- KEYS[1]  root of the calendars
-- ARGV     1 name | 2 revision
-- Returns  nothing
--- @include lib/keys
local stands = redis.call('HGET', key('c'), ARGV[1])
if not stands or struct.unpack('>I8', stands) == tonumber(ARGV[2]) then redis.call('SREM', key('t'), ARGV[1]) end
