#!lua flags=allow-oom
-- told: children have heard of the end of jobs of one queue.
-- KEYS[1]  root of the queue
-- ARGV     for each: token, as errands.lua gave it | of each child that has heard I2 length, reference
-- Returns  1 where more of their children are still to hear of it
--- @include lib/keys lib/clock lib/conditions lib/rare lib/job lib/rows lib/events lib/tick lib/writes lib/following
local more = 0
for i = 1, #ARGV, 2 do
  local member, heard, at = ARGV[i], ARGV[i + 1], 1
  while at <= #heard do
    local child
    child, at = struct.unpack('>I2c0', heard, at)
    redis.call('SREM', key('C' .. member), child)
  end
  if redis.call('EXISTS', key('C' .. member)) == 0 then
    redis.call('ZREM', key('O'), member)
    redis.call('HDEL', key('E'), member)
  elseif redis.call('ZADD', key('O'), 'XX', string.format('%d', NOW), member) then
    more = 1
  end
end
stirred.O = true
flush_tick(0)
return more
