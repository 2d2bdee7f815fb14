-- tick: when a queue is to be looked at again, in one record, and who is rung for it. The record is TICK: wakes so far;
-- the earliest due time, end of lease and end of retention (0: none); how many jobs are WAITING; changes so far; the last
-- minute of which is known how many there were when it began (lib/events); when a schedule is to be looked at next; when a
-- limit or a pause lets jobs begin by itself; when something is to be done for jobs that wait for others (lib/following); the
-- mode (lib/limits).
local TICK, TICK_LEN = '>I6I6I6I6I6I6I4I6I6I6B', 59
-- A mode (lib/limits).
local HELD = 8
-- Of what goes on by itself (lib/turns), the pause.
local PAUSE = '!'
local wake, announce = 0, true
local stirred = {}  -- rows that are not as they were, as in first_of
local ticked = false  -- the record, once it is read
local new_mode = false  -- that is to stand in it; false: as it is

-- The mode. It stands in the record so that a queue without limits need not be asked.
local function read_mode()
  if new_mode then return new_mode end
  ticked = ticked or redis.call('GET', key('k')) or ''
  if #ticked == TICK_LEN then return string.byte(ticked, TICK_LEN) end
  local said = redis.call('HGET', key('q'), 'limits')
  return said and string.byte(said) or 0
end

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

-- A place became free that a claim had wanted: who was refused is rung. Returns the mode as it is now.
local freed, wanted = false, false  -- whether any place became free; whether one was wanted and jobs wait for it
--- @rare
local function settle_places(mode, waiting)
  local held = math.floor(mode / HELD) % 2 == 1
  if held and freed then
    wake, mode, held = 1, mode - HELD, false
    if not announce then publish(1, 0) end
  end
  if wanted and not held and waiting > 0 then mode = mode + HELD end
  freed, wanted = false, false
  return mode
end

-- Writes changes and record. waiting_by: how many more jobs are WAITING; stirred: by row, as in first_of.
local function flush_tick(waiting_by)
  local mode = read_mode()
  local old = ticked or redis.call('GET', key('k')) or ''
  local whole = #old == TICK_LEN
  local wakes, due, lease, over, waiting, changes, minute, schedule, start, errand =
    struct.unpack(TICK, old .. string.rep('\0', TICK_LEN - #old))
  changes, minute = flush_events(changes, minute)
  if whole then waiting = math.max(0, waiting + waiting_by) else waiting = count_waiting() end
  local due_before, start_before, errand_before = due, start, errand
  due = first_of('s', due, not whole or stirred.s)
  lease = first_of('a', lease, not whole or stirred.a)
  over = first_of('x', over, not whole or stirred.x)
  schedule = first_of('y', schedule, not whole or stirred.y)
  start = first_of('p', start, not whole or stirred.p)
  errand = first_of('O', errand, not whole or stirred.O)
  if mode > 0 then mode = settle_places(mode, waiting) end
  local new = struct.pack(TICK, wakes + wake, due, lease, over, waiting, changes, minute, schedule, start, errand, mode)
  if new ~= old then redis.call('SET', key('k'), new) end
  ticked, new_mode, stirred = new, false, {}
  if start > 0 and start ~= start_before then publish(2, start) end
  if errand > 0 and errand <= NOW and errand ~= errand_before then publish(32, 0) end
  if not announce then return end
  if wake > 0 then publish(1, 0) end
  if due > 0 and (due_before == 0 or due < due_before) then publish(2, due) end
end
