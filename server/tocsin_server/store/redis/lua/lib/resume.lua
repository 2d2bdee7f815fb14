-- resume: a pause whose time is over ends in the first script that looks. Returns since when the queue is paused, or
-- false.
local function still_paused(since, till)
  if not since or not till or tonumber(till) > NOW then return since end
  redis.call('HDEL', key('q'), 'paused', 'reason', 'until')
  redis.call('ZREM', key('p'), PAUSE)
  stirred.p, wake = true, 1
  flush_tick(0)
  publish(9, 0)
  return false
end
