#!lua flags=no-writes
-- due_schedules: schedules that are to be looked at, the longest due first.
-- KEYS[1]  root of the queue
-- ARGV     1 how many are left out | 2 how many at most
-- Returns  {now_ms, 1 if more may be due, else 0, {{schedule_id, stamp and schedule}, ...}}
-- Bounds   the caller asks for at most 500; 2 MiB are read, and what a schedule has beyond that
--- @include lib/keys lib/clock
local MOST_READ = 2 * 1024 * 1024
local found, read = {}, 0
local ids = redis.call('ZRANGEBYSCORE', key('y'), '-inf', NOW, 'LIMIT', ARGV[1], ARGV[2])
for i, id in ipairs(ids) do
  local stored = redis.call('HGET', key('z'), id)
  if stored then
    found[#found + 1] = {id, stored}
    read = read + #stored
    if read >= MOST_READ and i < #ids then return {NOW, 1, found} end
  end
end
return {NOW, #ids == tonumber(ARGV[2]) and 1 or 0, found}
