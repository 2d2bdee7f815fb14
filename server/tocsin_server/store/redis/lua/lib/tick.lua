-- tick: when a queue is to be looked at again, in one record, and who is rung for it. The record is >I6I6I6I6I6I6:
-- wakes so far; the earliest due time, end of lease and end of retention (0: none); how many jobs are WAITING; changes
-- so far. Older servers write the first four: then what waits is counted anew.
local TICK = '>I6I6I6I6I6I6'
local wake, announce = 0, true

local function earliest(name)
  local first = redis.call('ZRANGE', name, 0, 0, 'WITHSCORES')
  return first[2] and tonumber(first[2]) or 0
end

local function publish(flags, due)
  redis.call('PUBLISH', NAMESPACE .. ':wake', struct.pack('>BI6', flags, due) .. QUEUE)
end

-- How many jobs are WAITING, by the counters.
local function count_waiting()
  local counts, sum = redis.call('HGETALL', key('n')), 0
  for i = 1, #counts, 2 do
    if string.sub(counts[i], 1, 2) == '3:' then sum = sum + tonumber(counts[i + 1]) end
  end
  return sum
end

-- changes: how many there are, nil where none came; waiting_by: how many more jobs are WAITING; zadd, zrem: rows that are
-- not as they were.
local function flush_tick(changes, waiting_by, zadd, zrem)
  local old = redis.call('GET', key('k')) or ''
  local known = old .. string.rep('\0', 36 - #old)
  local wakes, due, lease, over, waiting, seen = struct.unpack(TICK, known)
  waiting = #old == 36 and math.max(0, waiting + waiting_by) or count_waiting()
  local due_before = due
  if zadd[S_KEY] or zrem[S_KEY] then due = earliest(S_KEY) end
  if zadd[A_KEY] or zrem[A_KEY] then lease = earliest(A_KEY) end
  if zadd[X_KEY] or zrem[X_KEY] then over = earliest(X_KEY) end
  local new = struct.pack(TICK, wakes + wake, due, lease, over, waiting, changes or seen)
  if new ~= old then redis.call('SET', key('k'), new) end
  if not announce then return end
  if wake > 0 then publish(1, 0) end
  if due > 0 and (due_before == 0 or due < due_before) then publish(2, due) end
end
