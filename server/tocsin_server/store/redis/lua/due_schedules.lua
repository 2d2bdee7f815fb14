#!lua flags=no-writes
-- due_schedules: schedules that are to be looked at, the longest due first.
-- KEYS[1]  root of the queue
-- ARGV     1 how many are left out | 2 how many at most
-- Returns  {now_ms, {{schedule_id, stamp and schedule}, ...}}
-- Bounds   the caller asks for at most 500
--- @include lib/keys lib/clock
local found = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', key('y'), '-inf', NOW, 'LIMIT', ARGV[1], ARGV[2])) do
  local stored = redis.call('HGET', key('z'), id)
  if stored then found[#found + 1] = {id, stored} end
end
return {NOW, found}
