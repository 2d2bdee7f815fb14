#!lua flags=allow-oom
-- delete_schedule: delete a schedule; its jobs stay.
-- KEYS[1]  root of the queue
-- ARGV     1 schedule_id
-- Returns  1 where it stood, else 0
--- @include lib/keys lib/clock lib/conditions lib/rare lib/job lib/rows lib/events lib/tick
if redis.call('HDEL', key('z'), ARGV[1]) == 0 then return 0 end
redis.call('ZREM', key('u'), ARGV[1])
redis.call('ZREM', key('y'), ARGV[1])
stirred.y = true
flush_tick(0)
return 1
