-- full: what becomes of a job that is due and comes while a limit is full, where the limit does not let it wait.
local CANCEL_NEW, CANCEL_RUNNING = 2, 3
local FULL = string.char(0, 10) .. 'LIMIT_FULL'  -- a cancel's reason, by nobody
local strict = nil  -- limits that do not let jobs wait; false: none
local sizes = {}  -- by index of places: jobs that run or wait, those that have come in this call included

local function strict_limits()
  if strict == nil then
    strict = false
    if in_mode(read_mode(), CANCELS) then
      rare()
      for _, limit in ipairs(read_limits(redis.call('HGET', key('q'), 'limits') or '')) do
        if limit.on_full >= CANCEL_NEW then
          strict = strict or {}
          strict[#strict + 1] = limit
        end
      end
    end
  end
  return strict
end

-- Who waits in a row of a key; who keeps the key's place there is counted among the places.
--- @rare
local function waiting_in(type, k)
  return redis.call('ZCOUNT', key('w' .. type .. ':' .. k), '(' .. KEEPS_PLACE, '+inf')
end

--- @rare
local function size_of(limit, k)
  local name = places_of_limit(limit, k)
  if not sizes[name] then
    local size = redis.call('ZCARD', key(name))
    if limit.scope == OF_QUEUE then
      size = size + count_waiting()
    elseif limit.scope == OF_TYPE then
      size = size + tonumber(redis.call('HGET', key('n'), WAITING .. ':' .. limit.type) or 0)
    elseif limit.type ~= '' then
      size = size + waiting_in(limit.type, k)
    else
      for _, type in ipairs(redis.call('HKEYS', key('t' .. k))) do
        size = size + waiting_in(type, k)
      end
    end
    sizes[name] = size
  end
  return sizes[name]
end

-- Of those that run under a limit the one that began first and was not asked yet; of a queue's among the 100 whose leases
-- end first.
--- @rare
local function ask_oldest(limit, k)
  local name, oldest = places_of_limit(limit, k), nil
  for _, one in ipairs(redis.call('ZRANGE', key(name), '0', '99')) do
    local n = struct.unpack('>I6', one)
    local job = touched[n] or load(n)
    if job and job.state == ACTIVE and not has(job, CANCEL_ASKED) and not (oldest and oldest.start <= job.start) then
      oldest = job
    end
  end
  if not oldest then return end
  ask_to_stop(oldest, struct.pack('>I6', CANCEL_GRACE_MS) .. FULL)
  publish(4, 0)
end

-- A job has come that runs or waits from now on; one that keeps its key's place is counted by limits by key already.
--- @rare
local function count_one_more(type, k, keeps_place)
  local seen = {}
  for _, limit in ipairs(strict_limits()) do
    local name = covers(limit, type, k) and not (keeps_place and limit.scope == OF_KEY) and places_of_limit(limit, k)
    if name and not seen[name] then sizes[name], seen[name] = size_of(limit, k) + 1, true end
  end
end

-- Whether a job that comes may not even wait. Where it may, and a limit is full, who runs under it may be asked to stop.
--- @rare
local function is_refused(type, k)
  local limits, full = strict_limits(), {}
  for _, limit in ipairs(limits) do
    if covers(limit, type, k) and size_of(limit, k) >= limit.most then
      if limit.on_full == CANCEL_NEW then return true end
      full[#full + 1] = limit
    end
  end
  for _, limit in ipairs(full) do ask_oldest(limit, k) end
  count_one_more(type, k)
  return false
end

-- A job that ends as it comes.
--- @rare
local function refuse(job)
  job.state, job.ends = CANCELLED, NOW
  put_extra(job, 'c', struct.pack('>I6I6I6I6', NOW, 0, NOW, 0) .. FULL)
end

-- The same for one that was SCHEDULED and is due now. One that has begun before may wait.
--- @rare
local function judge_due(job)
  local k = condition(job, LIMIT_KEY) or ''
  if job.attempt > 0 then
    count_one_more(job.type, k, has(job, FILED) and job.ends == 1)
  elseif is_refused(job.type, k) then
    refuse(job)
  end
end
