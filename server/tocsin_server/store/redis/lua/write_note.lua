#!lua
-- write_note: put a note in the place of the one that was read.
-- KEYS[1]  root of the queue
-- ARGV     1 key | 2 the revision that was read, 0: there was none | 3 until_ms | 4 value
-- Returns  1 where it was written, 0 where another revision stands
--- @include lib/keys lib/clock
local note, revision, till = key('b' .. ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local stands = redis.call('GETRANGE', note, 0, 7)
if MANUAL == 1 and redis.call('PEXPIRETIME', note) <= NOW then stands = '' end  -- Redis drops it by its own clock
if (#stands == 8 and struct.unpack('>I8', stands) or 0) ~= revision then return 0 end
if till > NOW then
  if redis.call('EXISTS', key('q')) == 1 and tonumber(redis.call('HGET', key('q'), 'notes') or 0) < till then
    redis.call('HSET', key('q'), 'notes', ARGV[3])  -- the queue is in use until then
  end
  redis.call('SET', note, struct.pack('>I8', revision + 1) .. ARGV[4], 'PXAT', till)
else
  redis.call('UNLINK', note) -- SET refuses a time that has passed
end
return 1
