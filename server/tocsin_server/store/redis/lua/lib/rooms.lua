-- rooms: for one claim, how many more jobs may begin under each limit.
-- Places: by index those that are taken, of which were looked at, and those of this claim's jobs.
local taken_places = {begun = {}}

-- A job that keeps its key's place is not in its own way; but more may stand there than may run, since limits change.
local function places_left(limit, k, keeps_place)
  if limit.most == 0 then return NO_LIMIT end
  local name = places_of_limit(limit, k)
  if not taken_places[name] then taken_places[name] = redis.call('ZCARD', key(name)) end
  if not (keeps_place and limit.scope == OF_KEY) then return limit.most - taken_places[name] end
  if taken_places[name] <= limit.most then return 1 end
  return limit.most - running_in(name) - (taken_places.begun[name] or 0)
end

-- How many more may begin; where none may, when one may, or nil where a place must become free first.
local function room_of(limit, k, keeps_place)
  local room, till = places_left(limit, k, keeps_place), nil
  if room <= 0 then return 0, nil end
  local by_rate, at = room_by_rate(limit, k)
  if by_rate < room then return by_rate, at end
  return room, till
end

-- The same for a key: under all limits that count it by itself.
local function room_of_key(limits, type, k, keeps_place)
  local least, till = NO_LIMIT, nil
  if #limits == 0 then return least end
  for _, limit in ipairs(limits) do
    if limit.scope == OF_KEY and covers(limit, type, k) then
      local room, at = room_of(limit, k, keeps_place)
      if room <= 0 and not at then return 0, nil end
      if room < least then
        least, till = room, at
      elseif room == 0 and at then
        till = math.max(till or 0, at)
      end
    end
  end
  return least, till
end

-- A job begins.
local function take_room(limits, type, k, keeps_place)
  if #limits == 0 then return end
  local seen = {}
  for _, limit in ipairs(limits) do
    if covers(limit, type, k) then
      count_begun(limit, k)
      local name = places_of_limit(limit, k)
      if not seen[name] then
        taken_places.begun[name], seen[name] = (taken_places.begun[name] or 0) + 1, true
        if taken_places[name] and not (keeps_place and limit.scope == OF_KEY) then
          taken_places[name] = taken_places[name] + 1
        end
      end
    end
  end
end

-- What limits of the queue and of types leave of a number; of each type, in `left`.
local function room_of_all(limits, left, number)
  for _, one in ipairs(limits) do
    if one.scope == OF_QUEUE then
      number = math.min(number, (room_of(one, '')))
    elseif one.scope == OF_TYPE and left[one.type] then
      left[one.type] = math.min(left[one.type], (room_of(one, '')))
    end
  end
  return number
end

-- What is full now, of the queue and of types: who wants a place is rung when one is free. Returns when rates go on, by
-- type, "" for the queue.
local function full_now(limits, left)
  local waits = {}
  for _, one in ipairs(limits) do
    if one.scope ~= OF_KEY and (one.scope == OF_QUEUE or left[one.type]) then
      local room, till = room_of(one, '')
      if room <= 0 and till then
        waits[one.type] = math.max(waits[one.type] or 0, till)
      elseif room <= 0 then
        wanted = true
      end
    end
  end
  return waits
end

-- The queue is looked at again at these times, where jobs wait for them.
local function wait_for(waits)
  for type, till in pairs(waits) do
    local waiting = type == '' and count_waiting() or tonumber(redis.call('HGET', key('n'), WAITING .. ':' .. type) or 0)
    if waiting > 0 and redis.call('ZADD', key('p'), 'CH', string.format('%d', till), type) > 0 then stirred.p = true end
  end
end
