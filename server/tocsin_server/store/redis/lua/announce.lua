#!lua flags=allow-oom
-- announce: a server says who runs jobs: all for whom it speaks.
-- KEYS[1]  HASH of workers: server's name -> I6 good until, I6 seen, what it says (queue_records.py)
-- ARGV     1 its name | 2 ttl_ms, 0 takes it back | 3 what it says
-- Returns  nothing
--- @include lib/clock
if ARGV[2] == '0' then return redis.call('HDEL', KEYS[1], ARGV[1]) end
redis.call('HSET', KEYS[1], ARGV[1], struct.pack('>I6I6', NOW + ARGV[2], NOW) .. ARGV[3])
if redis.call('HLEN', KEYS[1]) > 1 then
  local all = redis.call('HGETALL', KEYS[1])
  for i = 1, #all, 2 do
    if struct.unpack('>I6', all[i + 1]) < NOW then redis.call('HDEL', KEYS[1], all[i]) end
  end
end
