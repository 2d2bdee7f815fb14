-- tick: when a queue is to be looked at again, in one record, and who is rung for it. The record is TICK: wakes so far;
-- the earliest due time, end of lease and end of retention (0: none); how many jobs are WAITING; changes so far; the last
-- minute of which is known how many there were when it began (lib/events); when a schedule is to be looked at next.
local TICK, TICK_LEN = '>I6I6I6I6I6I6I4I6', 46
local wake, announce = 0, true

local function earliest(row)
  local first = redis.call('ZRANGE', key(row), 0, 0, 'WITHSCORES')
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

-- The earliest of a row. stirred: true where it must be read, else the earliest that came into it, nil if nothing did.
local function first_of(row, known, stirred)
  if not stirred then return known end
  if stirred == true then return earliest(row) end
  return known == 0 and stirred or math.min(known, stirred)
end

-- Writes changes and record. waiting_by: how many more jobs are WAITING; stirred: by row, as in first_of.
local function flush_tick(waiting_by, stirred)
  local old = redis.call('GET', key('k')) or ''
  local whole = #old == TICK_LEN
  local wakes, due, lease, over, waiting, changes, minute, schedule =
    struct.unpack(TICK, old .. string.rep('\0', TICK_LEN - #old))
  changes, minute = flush_events(changes, minute)
  if whole then waiting = math.max(0, waiting + waiting_by) else waiting = count_waiting() end
  local due_before = due
  due = first_of('s', due, not whole or stirred.s)
  lease = first_of('a', lease, not whole or stirred.a)
  over = first_of('x', over, not whole or stirred.x)
  schedule = first_of('y', schedule, not whole or stirred.y)
  local new = struct.pack(TICK, wakes + wake, due, lease, over, waiting, changes, minute, schedule)
  if new ~= old then redis.call('SET', key('k'), new) end
  if not announce then return end
  if wake > 0 then publish(1, 0) end
  if due > 0 and (due_before == 0 or due < due_before) then publish(2, due) end
end
