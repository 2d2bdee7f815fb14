#!lua flags=no-writes
-- figures: counts, ages and rates of a queue.
-- KEYS[1]  root of the queue
-- Returns  {now_ms, HGETALL of the counters, due_ms of the job that has been due longest or -1, HGETALL of the rates,
--          {the latest end time of COMPLETED and CANCELLED jobs that were deleted before their time, of FAILED ones},
--          {rows of keys that a limit holds back, then of each limit of the queue or of a type its name, active, max}}
-- Bounds   looks at the first job of at most 32 priorities of each type: with more of them the age is a lower bound; of
--          rows of keys at the heads of 100 that are open and 100 that are parked
--- @include lib/keys lib/clock lib/limits
local counts, oldest = redis.call('HGETALL', key('n')), -1
-- Due, and nobody has come to make it WAITING: just then somebody must see it.
local first = redis.call('ZRANGE', key('s'), 0, 0, 'WITHSCORES')
if first[2] and tonumber(first[2]) <= NOW then oldest = tonumber(first[2]) end
local function see(head)
  local due = head and struct.unpack('>I6', head, #head - 11)
  if due and (oldest < 0 or due < oldest) then oldest = due end
end

local queue = redis.call('HMGET', key('q'), 'gone_e', 'gone_f', 'limits')
for i = 1, #counts, 2 do
  local type = string.match(counts[i], '^3:(.*)$')
  if type then
    local from = '-inf'
    for _ = 1, 32 do
      local head = redis.call('ZRANGEBYSCORE', key('w' .. type), from, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
      if #head == 0 then break end
      see(head[1])
      from = '(' .. head[2]
    end
    if queue[3] then
      for _, heads in ipairs({'g', 'G'}) do
        for _, head in ipairs(redis.call('ZRANGE', key(heads .. type), '0', '99')) do see(head) end
      end
    end
  end
end
local limited = {0}
if queue[3] then
  limited[1] = redis.call('ZCARD', key('P'))
  for _, limit in ipairs(read_limits(queue[3])) do
    if limit.scope ~= OF_KEY and limit.most > 0 then
      local at = #limited
      limited[at + 1], limited[at + 2] = limit.name, redis.call('ZCARD', key(places_of_limit(limit, '')))
      limited[at + 3] = limit.most
    end
  end
  for _, row in ipairs(redis.call('ZRANGE', key('P'), '0', '99')) do
    see(redis.call('ZRANGE', key('w' .. row), '0', '0')[1])
  end
end
return {NOW, counts, oldest, redis.call('HGETALL', key('m')), {queue[1], queue[2]}, limited}
