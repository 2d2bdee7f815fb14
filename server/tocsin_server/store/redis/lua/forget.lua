#!lua flags=allow-oom
-- forget: drop what is kept of a queue in which no job and no schedule stands.
-- KEYS[1]  root of the queue
-- ARGV     1 ms for which nothing may have changed, "" whenever it did | 2 settings that say nothing (queue_records.py)
-- Returns  1 if nothing of the queue is left, 0 if it stays
-- Wakes    "settings"
-- Notes are not looked for here; write_note.lua tells until when one stands. They end by themselves.
--- @include lib/keys lib/clock lib/conditions lib/rare lib/job lib/rows lib/events lib/tick lib/writes lib/following lib/key_rows lib/limits lib/levels lib/filing lib/turns lib/commit
local function unused(for_ms)
  local said = redis.call('HMGET', key('q'), 'paused', 'settings', 'cmax', 'fmax', 'notes', 'unused')
  if said[1] or (said[2] and said[2] ~= ARGV[2]) or said[3] or said[4] or tonumber(said[5] or 0) > NOW then return false end
  local last = tonumber(said[6] or 0)
  for _, minute in ipairs(redis.call('HKEYS', key('o'))) do last = math.max(last, (tonumber(minute) + 1) * 60000) end
  if last == 0 then
    -- Nothing tells when it was used last: counted from now.
    redis.call('HSET', key('q'), 'unused', NOW)
    last = NOW
  end
  return last + for_ms <= NOW
end

for _, row in ipairs({key('s'), key('a'), key('x'), key('u'), key('O')}) do
  if redis.call('ZCARD', row) > 0 then return 0 end
end
if redis.call('HLEN', key('n')) > 0 then return 0 end
if redis.call('HEXISTS', key('q'), 'shared') == 1 then return 0 end
if redis.call('EXISTS', key('q')) == 1 then
  if ARGV[1] ~= '' and not unused(tonumber(ARGV[1])) then return 0 end
  publish(8, 0)
end
redis.call('UNLINK', key('q'), key('k'), key('n'), key('d'), key('m'), key('v'), key('o'), key('e'), key('f'),
  key('p'), key('P'), key('T'), key('E'))
return 1
