#!lua flags=allow-oom
-- delete_calendar: delete a calendar that nobody is known to name.
-- KEYS[1]  root of the calendars
-- ARGV     1 name
-- Returns  1 where it is gone, 0 where it is in use
--- @include lib/keys lib/calendars
if #uses(ARGV[1], '', 1) > 0 then return 0 end
redis.call('HDEL', key('c'), ARGV[1])
redis.call('ZREM', key('n'), ARGV[1])
redis.call('SREM', key('t'), ARGV[1])
return 1
