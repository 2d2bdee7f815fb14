-- telling: a queue's word of how many of its jobs run: its number, greater with each, as text; how many; 1 if
-- jobs are WAITING, else 0; the version up to which it refuses grants, "" where it has no shared limits. Numbers go by the server's time in
-- microseconds, so that they grow also where a queue was forgotten, or a replica that knew less took over.
local function tell()
  local known = redis.call('HMGET', key('q'), 'told', 'shared')
  local number = math.max(tonumber(known[1] or 0) + 1, _time[1] * 1000000 + _time[2])
  local text = string.format('%.0f', number)
  redis.call('HSET', key('q'), 'told', text)
  return {text, redis.call('ZCARD', key('a')), count_waiting() > 0 and 1 or 0, known[2] or ''}
end

-- The version of the grant that a claim has; false: it has none.
local grant = false

-- Takes it from a claim's fourth argument; whether the request may have been made before.
local function read_grant(said)
  grant = tonumber(string.sub(said, 3)) or false
  return string.sub(said, 1, 1) == '1'
end

-- Why a claim is not answered as one, by what the queue's hash says of limits and of shared ones; nil: it is.
local function refusal(limits, floor)
  if not floor then return not limits and not grant and 'N' or nil end
  if not grant then return 'S' end
  return grant <= tonumber(floor) and 'V' or nil
end

local function said(more, taken)
  return {NOW, more and '1' or '0', taken, grant and tell() or nil}
end
