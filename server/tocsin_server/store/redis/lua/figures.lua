#!lua flags=no-writes
-- figures: counts, ages and rates of a queue.
-- KEYS[1]  root of the queue
-- Returns  {now_ms, HGETALL of the counters, due_ms of the job that has been due longest or -1, HGETALL of the rates,
--          {the latest end time of COMPLETED and CANCELLED jobs that were deleted before their time, of FAILED ones},
--          {rows of keys that a limit holds back, then of each limit of the queue or of a type its name, active, max}}
-- Bounds   looks at the first job of at most 32 priorities of each type, and of each of 200 rows of keys: with more of them
--          the age is a lower bound
--- @include lib/keys lib/clock lib/conditions lib/rare lib/job lib/rows lib/limits
local counts, oldest = redis.call('HGETALL', key('n')), -1
-- Due, and nobody has come to make it WAITING: just then somebody must see it.
local first = redis.call('ZRANGE', key('s'), 0, 0, 'WITHSCORES')
if first[2] and tonumber(first[2]) <= NOW then oldest = tonumber(first[2]) end
local function see(row, from)
  for _ = 1, 32 do
    local head = redis.call('ZRANGEBYSCORE', key(row), from, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    if #head == 0 then return end
    local due = struct.unpack('>I6', head[1])
    if oldest < 0 or due < oldest then oldest = due end
    from = '(' .. head[2]
  end
end

local keys_left = 200  -- rows of keys that may be looked at
local function see_keys(name, row_of)
  if keys_left <= 0 then return end
  local found = redis.call('ZRANGE', key(name), '0', math.min(keys_left, 100) - 1)
  keys_left = keys_left - #found
  for _, one in ipairs(found) do
    local row, from = row_of(one)
    if row then see(row, from or '-inf') end
  end
end

local queue = redis.call('HMGET', key('q'), 'gone_e', 'gone_f', 'limits')
for i = 1, #counts, 2 do
  local type = string.match(counts[i], '^3:(.*)$')
  if type then
    see('w' .. type, '-inf')
    for _, heads in ipairs(queue[3] and {'g', 'G'} or {}) do
      see_keys(heads .. type, function(head)
        local job = load((struct.unpack('>I6', head, #head - 5)))
        if not (job and job.key) then return nil end
        if job.state ~= WAITING then return 'w' .. type .. ':' .. job.key end
        if oldest < 0 or job.due < oldest then oldest = job.due end
        -- What stands behind those of its priority; of one that keeps its key's place, all behind it.
        return 'w' .. type .. ':' .. job.key, '(' .. (job.ends == 1 and KEEPS_PLACE or -job.priority)
      end)
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
  see_keys('P', function(row) return 'w' .. row end)
end
return {NOW, counts, oldest, redis.call('HGETALL', key('m')), {queue[1], queue[2]}, limited}
