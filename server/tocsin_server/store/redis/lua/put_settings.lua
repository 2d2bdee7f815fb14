#!lua
-- put_settings: replace a queue's settings, pause or resume it, and announce it.
-- KEYS[1]  root of the queue
-- ARGV     1 epoch if the queue is new | 2 "1" paused | 3 reason | 4 settings (records.py) | 5 completed_max or "" |
--          6 failed_max or "" | 7 "1" draining, or ""
-- Returns  1 if the queue is new, else 0
-- Wakes    "settings"; with a resume also "claimable now"
--- @include lib/keys lib/clock lib/job lib/conditions lib/rows lib/events lib/tick lib/commit
local new = redis.call('HSETNX', key('q'), 'epoch', ARGV[1])
local since = redis.call('HGET', key('q'), 'paused')
local flags = 8
if ARGV[2] == '1' then
  since = since or NOW
  redis.call('HSET', key('q'), 'paused', since, 'reason', ARGV[3])
else
  if since then
    flags, wake = 9, 1
    announce = false
    flush_tick(0, {})
  end
  redis.call('HDEL', key('q'), 'paused', 'reason')
end
redis.call('HSET', key('q'), 'settings', ARGV[4])
for i, field in ipairs({'cmax', 'fmax', 'drain'}) do
  if ARGV[4 + i] == '' then
    redis.call('HDEL', key('q'), field)
  else
    redis.call('HSET', key('q'), field, ARGV[4 + i])
  end
end
publish(flags, 0)
return new
