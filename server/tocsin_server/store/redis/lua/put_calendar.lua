#!lua
-- put_calendar: write a calendar where it stands as it was read.
-- KEYS[1]  root of the calendars
-- ARGV     1 name | 2 revision that was read, 0 where none stood | 3 how many there may be | 4 new revision and calendar
-- Returns  "OK" | "STALE" | "FULL"; but for OK nothing was done
--- @include lib/keys
local stands = redis.call('HGET', key('c'), ARGV[1])
if (stands and struct.unpack('>I8', stands) or 0) ~= tonumber(ARGV[2]) then return 'STALE' end
if not stands and redis.call('HLEN', key('c')) >= tonumber(ARGV[3]) then return 'FULL' end
redis.call('HSET', key('c'), ARGV[1], ARGV[4])
redis.call('ZADD', key('n'), 0, ARGV[1])
if stands then redis.call('SADD', key('t'), ARGV[1]) end
return 'OK'
