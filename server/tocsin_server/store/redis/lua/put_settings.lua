#!lua
-- put_settings: replace a queue's settings, pause or resume it, and announce it.
-- KEYS[1]  root of the queue
-- ARGV     1 epoch if the queue is new | 2 "1" paused | 3 reason | 4 settings (records.py) | 5 completed_max or "" |
--          6 failed_max or "" | 7 mode and limits (lib/limits, without the generation), "" for none | 8 ms when the pause
--          ends by itself, or "" | 9 "1": it drains (no new jobs), or "" | 10 ms of priority_ageing, or ""
-- Returns  1 if the queue is new, else 0
-- Wakes    "settings"; with a resume, or other limits, also "claimable now"
-- Bounds   where limits begin, all running jobs are given their places; jobs that wait are filed by claims, some a call
--- @include lib/keys lib/clock lib/conditions lib/rare lib/job lib/rows lib/events lib/tick lib/writes lib/following lib/key_rows lib/limits lib/levels lib/filing lib/turns lib/commit lib/transitions
local new = redis.call('HSETNX', key('q'), 'epoch', ARGV[1])
local found = redis.call('HMGET', key('q'), 'paused', 'limits', 'ageing')
local since, flags = found[1], 8

-- Who runs now has a place from now on.
local function give_places()
  for _, member in ipairs(redis.call('ZRANGE', key('a'), '0', '-1')) do
    local job = load((struct.unpack('>I6', member)))
    if job and job.state == ACTIVE and not has(job, FILED) then
      job.quiet = true
      touch(job)
    end
  end
  commit()
end

local function set_limits(old, wanted, step)
  local aged = step ~= (found[3] or '')
  if step ~= '' then redis.call('HSET', key('q'), 'ageing', step) elseif aged then redis.call('HDEL', key('q'), 'ageing') end
  if not old and wanted == '' then return end
  if not aged and old and wanted == string.sub(old, 1, 1) .. string.sub(old, 6) then return end
  local before = old and string.byte(old) or 0
  local mode = wanted ~= '' and string.byte(wanted) or 0
  local fair = in_mode(mode, FAIR)
  if in_mode(before, KEYED) or in_mode(before, FAIR) or in_mode(before, REFILING) or fair then mode = mode + REFILING end
  if mode == 0 then
    redis.call('HDEL', key('q'), 'limits')
    redis.call('UNLINK', key('p'))  -- times of rates; that of the pause comes into it after this
    stirred.p = true
  else
    local generation = 1 + (old and struct.unpack('>I4', old, 2) or 0)
    redis.call('HSET', key('q'), 'limits', struct.pack('>BI4', mode, generation) .. string.sub(wanted, 2))
  end
  if aged and in_mode(mode, REFILING) then redis.call('HSET', key('q'), 'rehead', '') end
  flags, wake, new_mode = 9, 1, mode
  if in_mode(mode, LIMITED) and not in_mode(before, LIMITED) then give_places() end
end

if redis.call('HDEL', key('q'), 'until') > 0 then stirred.p = redis.call('ZREM', key('p'), PAUSE) > 0 or nil end
announce = false
set_limits(found[2], ARGV[7], ARGV[10])
if ARGV[2] == '1' then
  since = since or NOW
  redis.call('HSET', key('q'), 'paused', since, 'reason', ARGV[3])
  if ARGV[8] ~= '' then
    redis.call('HSET', key('q'), 'until', ARGV[8])
    redis.call('ZADD', key('p'), ARGV[8], PAUSE)
    stirred.p = true
  end
else
  if since then flags, wake = 9, 1 end
  redis.call('HDEL', key('q'), 'paused', 'reason')
end
if wake > 0 or new_mode or stirred.p then flush_tick(0) end
redis.call('HSET', key('q'), 'settings', ARGV[4])
if ARGV[9] == '1' then redis.call('HSET', key('q'), 'drain', '1') else redis.call('HDEL', key('q'), 'drain') end
for i, field in ipairs({'cmax', 'fmax'}) do
  if ARGV[4 + i] == '' then
    redis.call('HDEL', key('q'), field)
  else
    redis.call('HSET', key('q'), field, ARGV[4 + i])
  end
end
publish(flags, 0)
return new
