#!lua flags=no-writes
-- figures: counts, ages and rates of a queue.
-- KEYS[1]  root of the queue
-- Returns  {now_ms, HGETALL of the counters, due_ms of the job that has been due longest or -1, HGETALL of the rates,
--          {the latest end time of COMPLETED and CANCELLED jobs that were deleted before their time, of FAILED ones}}
-- Bounds   looks at the first job of at most 32 priorities of each type: with more of them the age is a lower bound
--- @include lib/keys lib/clock
local counts, oldest = redis.call('HGETALL', key('n')), -1
-- Due, and nobody has come to make it WAITING: just then somebody must see it.
local first = redis.call('ZRANGE', key('s'), 0, 0, 'WITHSCORES')
if first[2] and tonumber(first[2]) <= NOW then oldest = tonumber(first[2]) end
for i = 1, #counts, 2 do
  local type = string.match(counts[i], '^3:(.*)$')
  if type then
    local from = '-inf'
    for _ = 1, 32 do
      local head = redis.call('ZRANGEBYSCORE', key('w' .. type), from, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
      if #head == 0 then break end
      local due = struct.unpack('>I6', head[1])
      if oldest < 0 or due < oldest then oldest = due end
      from = '(' .. head[2]
    end
  end
end
return {NOW, counts, oldest, redis.call('HGETALL', key('m')), redis.call('HMGET', key('q'), 'gone_e', 'gone_f')}
