-- limits: what the queue says of limits and turns, and how much room a limit has. The field `limits` of the queue's hash:
-- B mode, I4 generation (it grows with each change), then of each limit B name, B scope, B on_full, B type, I4
-- max_active, I4 jobs, I6 per_ms, I4 burst; 0 where there is none (store/redis/limit_records.py).
-- Mode: LIMITED: who runs stands in the indexes of places (lib/filing); KEYED: jobs with a key wait in rows of their key;
-- FAIR: all jobs do, and keys take turns; REFILING: rows of keys may stand, though nothing asks for them; ORDERED: some
-- key has one place, which a retry keeps; CANCELS: some limit does not let new jobs wait; AGEING: jobs gain priority while
-- they wait (lib/levels). In the tick record also HELD: a claim left due jobs for want of a place.
local LIMITED, KEYED, FAIR, REFILING, ORDERED, CANCELS, AGEING = 1, 2, 4, 16, 32, 64, 128
local OF_QUEUE, OF_TYPE, OF_KEY = 1, 2, 3
local NO_LIMIT = 9007199254740992

local function in_mode(mode, flag)
  return mode % (flag + flag) >= flag
end

--- @rare
local function read_limits(packed)
  local found, at = {}, 6
  while at <= #packed do
    local one = {}
    one.name, one.scope, one.on_full, one.type, one.most, one.jobs, one.per, one.burst, at =
      struct.unpack('>Bc0BBBc0I4I4I6I4', packed, at)
    found[#found + 1] = one
  end
  return found
end

-- Whether a limit is about jobs of this type and key.
--- @rare
local function covers(limit, type, k)
  if limit.scope == OF_KEY then return k ~= '' and (limit.type == '' or limit.type == type) end
  return limit.scope == OF_QUEUE or limit.type == type
end

-- The index of places of a limit, for jobs of this type and key: who runs, and who keeps a place for its retry.
--- @rare
local function places_of_limit(limit, k)
  if limit.scope == OF_QUEUE then return 'a' end
  if limit.scope == OF_TYPE then return 'c' .. limit.type end
  return 'c' .. limit.type .. ':' .. k
end

-- How many run of those that stand in an index of places, at most 1,000 of them: the others keep theirs for a retry.
--- @rare
local function running_in(name)
  local run = 0
  for _, arrival in ipairs(redis.call('ZRANGE', key(name), '0', '999')) do
    local meta = read(arrival)
    if meta and parse(meta).state == ACTIVE then run = run + 1 end
  end
  return run
end

-- Whether a key has one place among the jobs of this type, so that its jobs keep their order; not while more of them run
-- than may, as limits have changed: a place that is kept then would let more begin.
--- @rare
local function ordered(type, k)
  local one_place = false
  for _, limit in ipairs(read_limits(redis.call('HGET', key('q'), 'limits') or '')) do
    if limit.scope == OF_KEY and limit.most > 0 and covers(limit, type, k) then
      if redis.call('ZCARD', key(places_of_limit(limit, k))) > limit.most then return false end
      one_place = one_place or limit.most == 1
    end
  end
  return one_place
end
