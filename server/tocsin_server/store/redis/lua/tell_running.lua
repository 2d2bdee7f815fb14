#!lua flags=allow-oom
-- tell_running: a queue tells how many of its jobs run, and is told of shared limits.
-- KEYS[1]  root of the queue
-- ARGV     1 epoch if the queue is new, "" where it need not be there | 2 a version up to which grants are refused, or 0 |
--          3 with it "1": it has shared limits from now on, "0": none, "": as it was | 4 ms at which claims look again, or 0
-- Returns  its word (lib/telling), and 1 if the queue is new, else 0
-- Wakes    where it ceases to have shared limits: "claimable now"
--- @include lib/keys lib/clock lib/conditions lib/rare lib/job lib/rows lib/events lib/tick lib/writes lib/following lib/key_rows lib/limits lib/filing lib/turns lib/commit lib/telling
local version, look_at = tonumber(ARGV[2]), tonumber(ARGV[4])
local stands = redis.call('EXISTS', key('q')) == 1
if ARGV[1] == '' and not stands then return {'0', 0, 0, '', 0} end
local new = ARGV[1] ~= '' and redis.call('HSETNX', key('q'), 'epoch', ARGV[1]) or 0

local floor = redis.call('HGET', key('q'), 'shared')
if version > tonumber(floor or 0) then
  if ARGV[3] == '0' and floor then
    redis.call('HDEL', key('q'), 'shared')
    wake = 1
  elseif ARGV[3] == '1' or (ARGV[3] == '' and floor) then
    redis.call('HSET', key('q'), 'shared', ARGV[2])
  end
end
if look_at > 0 and floor and (count_waiting() > 0 or redis.call('ZCOUNT', key('s'), '-inf', NOW) > 0) then
  if redis.call('ZADD', key('p'), 'CH', ARGV[4], '') > 0 then stirred.p = true end
end
if wake > 0 or stirred.p then flush_tick(0) end
local word = tell()
word[5] = new
return word
